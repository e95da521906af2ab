package grant_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/docker/grant"
	"ds01.dev/ds01/internal/gpu"
)

const id = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// device is a MIG instance: two nodes, the second of which another shares.
func device(uuid string, minor uint32) gpu.Device {
	return gpu.Device{UUID: uuid, Nodes: []gpu.Node{{Name: "nvidia-caps/nvidia-cap" + uuid[len(uuid)-1:], Major: 235, Minor: minor}, {Name: "nvidia0", Major: 195}}}
}

// spec is what of runc's configuration the tests look at.
type spec struct {
	Process struct {
		Env  []string
		Args []string
	}
	Linux struct {
		CgroupsPath string
		Resources   struct {
			Devices []struct {
				Allow        bool
				Major, Minor *int
				Access       string
			}
			Memory map[string]int
		}
	}
	Mounts []struct{ Destination, Source string }
}

// equip lays a bundle out and has it equipped.
func equip(t *testing.T, root, hooks string, args ...string) (spec, []string, error) {
	t.Helper()
	bundle := t.TempDir()
	file := filepath.Join(bundle, "config.json")
	text := `{"ociVersion":"1.0.2","process":{"args":["sh"],"env":["A=1","NVIDIA_VISIBLE_DEVICES=GPU-old","NVIDIA_VISIBLE_DEVICES=GPU-old"]},
		"mounts":[{"destination":"/dev","source":"tmpfs"}],"hooks":` + hooks + `,
		"linux":{"cgroupsPath":"/ds01/u1/x","resources":{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":5}}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rest, err := grant.Equip(append([]string{"ds01-runtime", grant.RootFlag, root}, args...), bundle)
	var s spec
	data, rerr := os.ReadFile(file)
	if rerr != nil || json.Unmarshal(data, &s) != nil {
		t.Fatalf("%v: %s", rerr, data)
	}
	return s, rest, err
}

func folder(root string) grant.Folder { return grant.Folder(config.PathsUnder(root).DeviceNodes) }

func (s spec) rules() (all []int) {
	for _, d := range s.Linux.Resources.Devices[1:] {
		all = append(all, *d.Major, *d.Minor)
		if !d.Allow || d.Access != "rw" {
			return nil
		}
	}
	return all
}

func (s spec) nodes() (all []string) {
	for _, m := range s.Mounts[1:] {
		all = append(all, m.Destination)
	}
	return all
}

func TestWhatIsGivenIsAddedToWhatStarts(t *testing.T) {
	root := t.TempDir()
	if err := folder(root).Give(id, []gpu.Device{device("MIG-1", 12), device("MIG-2", 21)}); err != nil {
		t.Fatal(err)
	}
	s, rest, err := equip(t, root, `{}`, "create", "--bundle", "b", id)
	if err != nil || !slices.Equal(rest, []string{"ds01-runtime", "create", "--bundle", "b", id}) {
		t.Errorf("%v, %v", rest, err)
	}
	if got := s.rules(); !slices.Equal(got, []int{235, 12, 195, 0, 235, 21}) {
		t.Errorf("rules %v", got)
	}
	if got := s.nodes(); !slices.Equal(got, []string{"/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap2"}) || s.Mounts[2].Source != filepath.Join(root, "run/ds01/dev/nvidia0") {
		t.Errorf("mounts %v", s.Mounts)
	}
	if s.Linux.CgroupsPath != "/ds01/u1/x" || s.Linux.Resources.Memory["limit"] != 5 || s.Process.Args[0] != "sh" || s.Process.Env[1] != "NVIDIA_VISIBLE_DEVICES=GPU-old" {
		t.Errorf("the rest has changed: %+v", s)
	}
}

func TestNVIDIAsHookIsToldOfWhatIsGivenNow(t *testing.T) {
	for name, c := range map[string]struct {
		devices []gpu.Device
		want    string
	}{
		"two devices": {[]gpu.Device{device("MIG-1", 12), device("MIG-2", 21)}, "A=1 NVIDIA_VISIBLE_DEVICES=MIG-1,MIG-2"},
		"none":        {nil, "A=1 NVIDIA_VISIBLE_DEVICES=void"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := folder(root).Give(id, c.devices); err != nil {
				t.Fatal(err)
			}
			s, _, err := equip(t, root, `{"prestart":[{"path":"/usr/bin/nvidia-container-runtime-hook"}]}`, "create", id)
			if got := strings.Join(s.Process.Env, " "); err != nil || got != c.want || len(s.nodes()) > 0 {
				t.Errorf("%s, nodes %v, %v", got, s.nodes(), err)
			}
		})
	}
}

func TestWhatNothingWasWrittenForOpensNothing(t *testing.T) {
	root := t.TempDir()
	if err := folder(root).Give(id, []gpu.Device{device("MIG-1", 12)}); err != nil {
		t.Fatal(err)
	}
	if got, err := folder(root).Given(id); err != nil || !slices.Equal(got, []string{"MIG-1"}) {
		t.Errorf("given %v, %v", got, err)
	}
	for range 2 { // taking twice is no error
		if err := folder(root).Take(id); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := equip(t, root, `{"prestart":[{"path":"/usr/bin/nvidia-container-runtime-hook"}]}`, "create", id)
	if err != nil || len(s.rules())+len(s.nodes()) > 0 || !slices.Contains(s.Process.Env, "NVIDIA_VISIBLE_DEVICES=void") {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestWhatCantBeReadDoesNotStart(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(string(folder(root)), "given", id+".json")
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := equip(t, root, `{}`, "create", id); err == nil {
		t.Error("it starts with a broken file")
	}
	if _, _, err := equip(t, root, `{}`, "create", "../"+id); err == nil {
		t.Error("it starts by a path")
	}
}
