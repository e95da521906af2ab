// Package grant stands between the engine and runc, and gives a container the
// devices that its claim holds at the moment it starts.
//
// The engine keeps what a container was made with and lets nobody change its
// devices, so it is told of none. What it runs such a container with is ds01
// under the name Program: that reads what the daemon has written for the
// container, adds nodes and rules to what is about to start, and becomes runc,
// before any process of the container runs. Where nothing is written, as after
// a start past ds01, the container opens no device.
package grant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/gpu"
)

// Program is the name under which the engine calls it.
const Program = "ds01-runtime"

// A Folder is where the device nodes lie, and what containers are given of them.
type Folder string

// given is what one container is given.
type given struct {
	Nodes []node   `json:"nodes"`
	UUIDs []string `json:"uuids"`
}

type node struct {
	Name  string `json:"name"` // below /dev
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
}

var validID = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (f Folder) file(id string) (string, error) {
	if !validID.MatchString(id) {
		return "", fmt.Errorf("devices of a container: %q is no id of one", id)
	}
	return filepath.Join(string(f), "given", id+".json"), nil
}

// Give writes what a container is given when it starts. It takes the place of
// what was written before as a whole.
func (f Folder) Give(id string, devices []gpu.Device) error {
	name, err := f.file(id)
	if err != nil {
		return err
	}
	g := given{Nodes: []node{}, UUIDs: []string{}}
	for _, n := range gpu.Nodes(devices) {
		g.Nodes = append(g.Nodes, node(n))
	}
	for _, d := range devices {
		g.UUIDs = append(g.UUIDs, d.UUID)
	}
	data, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("give devices: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("give devices: %w", err)
	}
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return fmt.Errorf("give devices: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("give devices: %w", err)
	}
	return nil
}

// Given returns the UUIDs of what a container is given, nil for one that nothing
// was written for.
func (f Folder) Given(id string) ([]string, error) {
	g, err := f.read(id)
	return g.UUIDs, err
}

func (f Folder) read(id string) (g given, err error) {
	name, err := f.file(id)
	if err != nil {
		return g, err
	}
	data, err := os.ReadFile(name) //nolint:gosec // in the daemon's own folder
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		return g, fmt.Errorf("read a container's devices: %w", err)
	}
	return g, nil
}

// Take lets a container that starts be given nothing; where nothing is written
// is no error.
func (f Folder) Take(id string) error {
	name, err := f.file(id)
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take devices back: %w", err)
	}
	return nil
}

// All returns the containers that something was written for, by id.
func (f Folder) All() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(string(f), "given", "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list containers' devices: %w", err)
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(filepath.Base(name), ".json")
	}
	return names, nil
}

// RootFlag names a root other than the host's own, before runc's arguments: an
// engine that another ds01 stands before has it in its configuration.
const RootFlag = "--ds01-root"

// Equip adds a container's devices to what lies in bundle, the folder of what is
// about to be started, "" where nothing is. args are those of the process; it
// returns those that are runc's.
func Equip(args []string, bundle string) ([]string, error) {
	root := "/"
	if len(args) > 2 && args[1] == RootFlag {
		root, args = args[2], slices.Delete(slices.Clone(args), 1, 3)
	}
	if bundle == "" {
		return args, nil
	}
	folder := Folder(config.PathsUnder(root).DeviceNodes)
	g, err := folder.read(args[len(args)-1]) // its id comes last
	if err != nil {
		return nil, err
	}
	file := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(file) //nolint:gosec // the engine's own
	if err != nil {
		return nil, fmt.Errorf("read what is to start: %w", err)
	}
	if data, err = g.add(data, string(folder)); err != nil {
		return nil, fmt.Errorf("add devices to what is to start: %w", err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil { //nolint:gosec // the engine's own
		return nil, fmt.Errorf("add devices to what is to start: %w", err)
	}
	return args, nil
}

// An object is one of runc's configuration: what isn't changed stays as it is.
type object map[string]json.RawMessage

// add returns the configuration of runc with the devices in it.
func (g given) add(config []byte, folder string) ([]byte, error) {
	var all object
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, err
	}
	hooked, err := hooked(all)
	if err != nil {
		return nil, err
	}
	if err := all.inside([]string{"linux", "resources"}, g.addRules); err != nil {
		return nil, err
	}
	if hooked { // by variable; it brings the nodes itself
		err = all.inside([]string{"process"}, g.show)
	} else {
		err = g.addNodes(all, folder)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

// inside changes an object within another.
func (o object) inside(path []string, change func(object) error) error {
	if len(path) == 0 {
		return change(o)
	}
	inner := object{}
	if raw, ok := o[path[0]]; ok {
		if err := json.Unmarshal(raw, &inner); err != nil {
			return err
		}
	}
	if err := inner.inside(path[1:], change); err != nil {
		return err
	}
	return o.set(path[0], inner)
}

func (o object) set(key string, value any) error {
	data, err := json.Marshal(value)
	if err == nil {
		o[key] = data
	}
	return err
}

// list returns the elements under a key.
func list[T any](o object, key string) (all []T, err error) {
	if raw, ok := o[key]; ok {
		err = json.Unmarshal(raw, &all)
	}
	return all, err
}

// A rule is one of runc's for devices.
type rule struct {
	Allow  bool   `json:"allow"`
	Type   string `json:"type"`
	Major  uint32 `json:"major"`
	Minor  uint32 `json:"minor"`
	Access string `json:"access"`
}

func (g given) addRules(resources object) error {
	rules, err := list[any](resources, "devices")
	if err != nil {
		return err
	}
	for _, n := range g.Nodes {
		rules = append(rules, rule{Allow: true, Type: "c", Major: n.Major, Minor: n.Minor, Access: "rw"})
	}
	return resources.set("devices", rules)
}

func (g given) addNodes(all object, folder string) error {
	mounts, err := list[any](all, "mounts")
	if err != nil {
		return err
	}
	for _, n := range g.Nodes {
		mounts = append(mounts, map[string]any{
			"destination": "/dev/" + n.Name, "type": "bind", "source": filepath.Join(folder, n.Name), "options": []string{"rbind", "rprivate"},
		})
	}
	return all.set("mounts", mounts)
}

// visibleDevices is the variable that NVIDIA's hook goes by.
const visibleDevices = "NVIDIA_VISIBLE_DEVICES="

// show names the devices to NVIDIA's hook, in place of those that the engine has
// stored.
func (g given) show(process object) error {
	env, err := list[string](process, "env")
	if err != nil {
		return err
	}
	env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, visibleDevices) })
	visible := "void"
	if len(g.UUIDs) > 0 {
		visible = strings.Join(g.UUIDs, ",")
	}
	return process.set("env", append(env, visibleDevices+visible))
}

// hooked reports whether NVIDIA's hook is to run.
func hooked(all object) (bool, error) {
	var hooks map[string][]struct {
		Path string `json:"path"`
	}
	if raw, ok := all["hooks"]; ok {
		if err := json.Unmarshal(raw, &hooks); err != nil {
			return false, err
		}
	}
	for _, moment := range hooks {
		for _, h := range moment {
			if name := filepath.Base(h.Path); name == "nvidia-container-runtime-hook" || name == "nvidia-container-toolkit" {
				return true, nil
			}
		}
	}
	return false, nil
}
