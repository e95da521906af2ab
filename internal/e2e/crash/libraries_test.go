package crash_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/docker/scratch"
	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/nvml/sim"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/registrar/registrartest"
	"ds01.dev/ds01/internal/store"
)

// librariesLimits leave room for two devices in a container.
const librariesLimits = `defaults: {max_mig_instances: 2, max_gpu_share: null, max_gpus_per_container: 2, allow_full_gpu: true,
  memory: 64m, memory_swap: 64m, shm_size: 16m, max_cpus: 1, pids_limit: 100, ulimit_nofile: 1024, stop_timeout: 1s}
`

// A workshop is the daemon's road to a container on a real engine, put together
// without a daemon: driver libraries come only with NVIDIA's driver, which isn't
// here, and simulated GPUs have none by design. Real are the claim, the review,
// the adapter, the engine and the runtime. The devices are the simulated
// driver's, so that their UUIDs look like a driver's.
type workshop struct {
	*launcher.Launcher
	engine  *docker.Engine
	scratch *scratch.Engine
	hook    string // folder with a stand-in for NVIDIA's hook, on the PATH of dockerd

	libraries func() (string, error)
}

func newWorkshop(t *testing.T, remap bool) *workshop {
	t.Helper()
	if missing := scratch.Missing(); os.Geteuid() != 0 || len(missing) > 0 {
		t.Fatalf("this test needs root and %v; 'make deps' installs packages", missing)
	}
	dir, err := os.MkdirTemp("/tmp", "ds01t-")
	lab.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	lab.Must(t, os.Chmod(dir, 0o711))
	w := &workshop{hook: filepath.Join(dir, "hook")}
	lab.Must(t, os.CopyFS(w.hook, os.DirFS("testdata/hook")))
	lab.Must(t, os.Mkdir(filepath.Join(w.hook, "told"), 0o755))
	w.scratch, err = scratch.Start(t.Context(), scratch.Options{Dir: filepath.Join(dir, "e"), Remap: remap, Path: w.hook})
	lab.Must(t, err)
	t.Cleanup(func() {
		if err := w.scratch.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	lab.Must(t, w.scratch.LoadBusybox(t.Context()))
	w.engine, err = docker.New(strings.TrimPrefix(w.scratch.Host(), "unix://"))
	lab.Must(t, err)
	t.Cleanup(func() { w.engine.Close() })
	w.open(t, filepath.Join(dir, "ds01.db"), remap)
	return w
}

// open puts the launcher together, with three cards, an instance on one of them.
func (w *workshop) open(t *testing.T, database string, remap bool) {
	t.Helper()
	driver, err := sim.New(sim.Config{GPUs: []string{"a100-80gb", "a100-80gb", "a100-80gb"}, MIG: map[int][]string{2: {"3g.40gb"}}})
	lab.Must(t, err)
	cards, err := driver.Cards(t.Context())
	lab.Must(t, err)
	devices := func() []gpu.Device { return gpu.Devices(cards) }
	records, err := store.Open(t.Context(), database)
	lab.Must(t, err)
	t.Cleanup(func() { records.Close() })
	ledger, err := allocator.New(t.Context(), records, devices, time.Now)
	lab.Must(t, err)
	images, err := curator.New(t.Context(), records, w.engine, ledger, time.Now)
	lab.Must(t, err)
	networks := false
	document, _, err := limits.Decode(limits.File{Name: "limits", Data: []byte(librariesLimits)}, nil)
	lab.Must(t, err)
	isolation := admission.UID
	if remap {
		isolation = admission.UserNS
	}
	w.Launcher = launcher.New(launcher.Parts{
		Engine: w.engine, Images: images, Ledger: ledger, Registrar: registrartest.New(t, w.engine, records, ledger.Lock, time.Now, &networks), Cgroups: below(w.scratch.CgroupParent()), Accounts: ann{}, Devices: devices,
		Limits:    func(a account.Account) limits.Limits { return document.Resolve(a, time.Now()) },
		Isolation: func() admission.Isolation { return isolation }, Libraries: func() (string, error) { return w.libraries() },
		Log: slog.New(slog.DiscardHandler), Now: time.Now, NodeFolder: "/nonexistent",
	})
}

// below is the group that everybody's containers are in.
type below string

func (b below) Parent(uid int) string { return fmt.Sprintf("%s/u%d", b, uid) }

func (b below) Ensure(_ context.Context, uid int, _ limits.Limits) (string, error) {
	return fmt.Sprintf("%s/u%d", b, uid), nil
}
func (below) Freeze(context.Context, int, string) error { return nil }
func (below) Thaw(int, string) error                    { return nil }

func (below) End(context.Context, int, string) (int, error) { return 0, nil }

// ann is the only person.
type ann struct{}

func (ann) Lookup(uid int) (account.Account, error) {
	return account.Account{UID: uid, GID: uid, Name: "ann", Home: "/nonexistent"}, nil
}

// atEngine runs docker past ds01.
func (w *workshop) atEngine(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", append([]string{"-H", w.scratch.Host()}, args...)...).Output()
	if err != nil {
		t.Fatalf("docker %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// create makes a container of what a client sends.
func (w *workshop) create(t *testing.T, body string) (container.Record, error) {
	t.Helper()
	c, err := admission.DecodeCreate([]byte(body))
	lab.Must(t, err)
	who, err := ann{}.Lookup(1001)
	lab.Must(t, err)
	record, _, err := w.Create(t.Context(), launcher.Request{
		Account: who, Roles: account.Roles{Docker: true, GPU: true}, Name: "web", Interface: label.Docker, Body: c,
	})
	return record, err
}

// remove takes the container away, with its claim.
func (w *workshop) remove(t *testing.T, r container.Record) {
	t.Helper()
	lab.Must(t, w.engine.Remove(t.Context(), r.ContainerID, true))
	lab.Must(t, w.Ledger.Forget(t.Context(), r.ID))
}

// visible returns every value of NVIDIA_VISIBLE_DEVICES in a text of
// variables; the hook goes by the last.
func visible(text string) []string {
	values := []string{}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "NVIDIA_VISIBLE_DEVICES="); ok {
			values = append(values, value)
		}
	}
	return values
}

// TestTheHookIsToldOfTheClaimsDevicesOnly starts containers with 'libraries:
// hook' and reads what a stand-in for NVIDIA's hook was told by the runtime.
func TestTheHookIsToldOfTheClaimsDevicesOnly(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			w := newWorkshop(t, !plain)
			t.Setenv("PATH", w.hook+":"+os.Getenv("PATH")) // where ds01 looks, too
			info, err := w.engine.Info(t.Context())
			lab.Must(t, err)
			w.libraries = func() (string, error) {
				return admission.LibrariesOn(info, config.GPU{Provider: config.NVML, Libraries: config.LibrariesHook})
			}
			if by, err := admission.LibrariesOn(info, config.GPU{Provider: config.NVML, Libraries: config.LibrariesAuto}); by != admission.LibrariesHook || err != nil {
				t.Errorf("of itself ds01 would choose %q, %v", by, err)
			}
			w.atEngine(t, "create", "--name", "greedy", "busybox")
			w.atEngine(t, "commit", "--change", "ENV NVIDIA_VISIBLE_DEVICES=all", "greedy", "greedy")
			w.atEngine(t, "rm", "greedy")
			theHookIsTold(t, w)
		})
	}
}

func theHookIsTold(t *testing.T, w *workshop) {
	for name, c := range map[string]struct {
		image, env string
		gpus       int
	}{
		"one device":                            {"busybox", ``, 1},
		"two devices":                           {"busybox", ``, 2},
		"a client that wants all":               {"busybox", `"NVIDIA_VISIBLE_DEVICES=all"`, 1},
		"an image that wants all":               {"greedy", ``, 1},
		"an image and a client that want all":   {"greedy", `"NVIDIA_VISIBLE_DEVICES=all","NVIDIA_VISIBLE_DEVICES=0,1,2"`, 2},
		"no device, though image and client do": {"greedy", `"NVIDIA_VISIBLE_DEVICES=all"`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			requests := ""
			if c.gpus > 0 {
				requests = fmt.Sprintf(`{"Driver":"nvidia","Count":%d,"Capabilities":[["gpu"]]}`, c.gpus)
			}
			record, err := w.create(t, fmt.Sprintf(`{"Image":%q,"Cmd":["sleep","1000"],"Env":[%s],"HostConfig":{"DeviceRequests":[%s]}}`, c.image, c.env, requests))
			lab.Must(t, err)
			defer w.remove(t, record)
			if len(record.Devices) != c.gpus {
				t.Fatalf("the claim has the devices %v", record.Devices)
			}
			for range 2 { // at each start
				lab.Must(t, w.Start(t.Context(), record.ID))
				w.wantOnly(t, record)
				lab.Must(t, w.engine.Stop(t.Context(), record.ContainerID, 0))
			}
		})
	}
}

// wantOnly wants the hook and the container's processes to know of the claim's
// devices, and of no others. Without a device there is no hook.
func (w *workshop) wantOnly(t *testing.T, record container.Record) {
	t.Helper()
	id, file := record.ContainerID, filepath.Join(w.hook, "told", record.ContainerID)
	told, err := os.ReadFile(file)
	if len(record.Devices) == 0 {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the hook is told %q, %v", told, err)
		}
		if got := visible(w.atEngine(t, "exec", id, "env")); !slices.Equal(got, []string{"void"}) {
			t.Errorf("in the container %q are visible", got)
		}
		return
	}
	lab.Must(t, err)
	lab.Must(t, os.Remove(file))
	uuids := make([]string, len(record.Devices))
	for i, d := range record.Devices {
		uuids[i] = d.UUID
	}
	want := strings.Join(uuids, ",")
	if got := slices.Compact(visible(string(told))); !slices.Equal(got, []string{want}) {
		t.Errorf("the hook is told of %q, want %q", got, want)
	}
	if got := visible(w.atEngine(t, "exec", id, "env")); !slices.Equal(got, []string{want}) {
		t.Errorf("in the container %q are visible, want %q", got, want)
	}
	lab.Contains(t, string(told), "NVIDIA_DRIVER_CAPABILITIES=compute,utility")
	if got := w.atEngine(t, "exec", id, "cat", "/libcuda.so.1"); got != "no driver" {
		t.Errorf("in the place of a library is %q", got)
	}
}

// TestCDIOnAnEngineWithoutIsSaidToBeSo: the engine would create the container
// and then not start it, for no reason that people understand. ds01 refuses
// before that.
func TestCDIOnAnEngineWithoutIsSaidToBeSo(t *testing.T) {
	w := newWorkshop(t, false)
	info, err := w.engine.Info(t.Context())
	lab.Must(t, err)
	if info.CDI {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this engine, Docker %s, has CDI: that it is refused without can't be shown", info.Version)
		}
		t.Skipf("this engine, Docker %s, has CDI", info.Version)
	}
	const withGPU = `{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}}`
	w.libraries = func() (string, error) { return admission.LibrariesCDI, nil }
	record, err := w.create(t, withGPU)
	lab.Must(t, err)
	if err := w.Start(t.Context(), record.ID); err == nil || !strings.Contains(err.Error(), `could not select device driver "cdi"`) {
		t.Errorf("the engine says %v", err)
	}
	w.remove(t, record)

	w.libraries = func() (string, error) {
		return admission.LibrariesOn(info, config.GPU{Provider: config.NVML, Libraries: config.LibrariesCDI})
	}
	if _, err = w.create(t, withGPU); !errors.Is(err, problem.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	lab.Contains(t, problem.OneLine(err), "ds01: GPU not granted: gpu.libraries is cdi in ds01.yaml, but Docker "+info.Version+" has no CDI", "auto or hook")
	if left := w.atEngine(t, "ps", "-aq"); left != "" || len(w.Ledger.Records()) != 0 {
		t.Errorf("left: containers %q, claims %v", left, w.Ledger.Records())
	}
	record, err = w.create(t, `{"Image":"busybox","Cmd":["sleep","1000"]}`)
	lab.Must(t, err)
	lab.Must(t, w.Start(t.Context(), record.ID))
	w.remove(t, record)
}
