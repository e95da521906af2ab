package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
)

// A room is a container that runs on devices of the card.
type room struct {
	apitype.Container
	uuids []string
	root  string            // its file system as the host sees it
	nodes map[uint64]string // device nodes of ds01's in its /dev, as it calls them
}

func (v *verifier) prefix() string { return "ds01-verify-" + strconv.Itoa(v.card.Card) + "-" }

// runOn runs a container for each set of devices at the same time, and sees that
// each has its own nodes and no others.
func (v *verifier) runOn(ctx context.Context, name string, sets [][]string) {
	var rooms []*room
	v.check(ctx, "run: "+name, "each container holds what it asked for, and has a node that no other has", func(ctx context.Context) (string, error) {
		for _, uuids := range sets {
			r, err := v.open(ctx, uuids)
			if err != nil {
				return "", err
			}
			rooms = append(rooms, r)
		}
		return differ(rooms)
	})
	if len(rooms) == len(sets) {
		for i, r := range rooms {
			v.tryRoom(ctx, fmt.Sprintf("%s, container %d", name, i+1), r)
		}
	}
	v.check(ctx, "end: "+name, "the containers are gone, and nobody holds the card", func(ctx context.Context) (string, error) {
		if err := v.clear(ctx); err != nil {
			return "", err
		}
		return "gone", v.mayBegin(ctx)
	})
}

// open makes a container with exactly these devices and starts it.
func (v *verifier) open(ctx context.Context, uuids []string) (*room, error) {
	v.made++
	made, err := v.c.Create(ctx, apitype.CreateContainer{
		Name: v.prefix() + strconv.Itoa(v.made), Image: v.flags.image, Wanted: "device=" + strings.Join(uuids, ","),
	})
	if err != nil {
		return nil, err
	}
	if made, err = v.c.Start(ctx, made.Name); err != nil {
		return nil, err
	}
	r := &room{Container: made, uuids: uuids}
	if got := heldUUIDs(made); !slices.Equal(got, slices.Sorted(slices.Values(uuids))) {
		return nil, fmt.Errorf("%s holds %v, asked for %v", made.Name, got, uuids)
	}
	pid, err := v.c.PID(ctx, made.ID)
	if err != nil {
		return nil, err
	}
	r.root = filepath.Join("/proc", strconv.Itoa(pid), "root")
	r.nodes, err = v.nodesIn(filepath.Join(r.root, "dev"), r.root)
	if err == nil && len(r.nodes) == 0 {
		err = fmt.Errorf("%s has no device node of the card", made.Name)
	}
	return r, err
}

func heldUUIDs(c apitype.Container) (all []string) {
	for _, g := range c.GPUs {
		all = append(all, g.UUID)
	}
	slices.Sort(all)
	return all
}

// nodesIn returns by device the character devices below a folder that ds01 has a
// node of, named as from root.
func (v *verifier) nodesIn(folder, root string) (map[uint64]string, error) {
	known, all := map[uint64]string{}, map[uint64]string{}
	if err := eachDevice(v.paths.DeviceNodes, known); err != nil {
		return nil, err
	}
	if err := eachDevice(folder, all); err != nil {
		return nil, err
	}
	for dev, path := range all {
		if known[dev] == "" {
			delete(all, dev)
			continue
		}
		all[dev] = strings.TrimPrefix(path, root)
	}
	return all, nil
}

// eachDevice adds the character devices below a folder, by device.
func eachDevice(folder string, to map[uint64]string) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var st unix.Stat_t // a folder tells of what a node is mounted over
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			to[st.Rdev] = path
		}
		return nil
	})
}

// differ refuses containers of which one has no node for itself.
func differ(rooms []*room) (string, error) {
	var saw []string
	for _, r := range rooms {
		own := 0
		for dev := range r.nodes {
			if !slices.ContainsFunc(rooms, func(o *room) bool { return o != r && o.nodes[dev] != "" }) {
				own++
			}
		}
		if own == 0 {
			return "", fmt.Errorf("%s has no node that no other container has", r.Name)
		}
		saw = append(saw, fmt.Sprintf("%s: %d of its own of %d nodes", r.Name, own, len(r.nodes)))
	}
	return strings.Join(saw, "; "), nil
}

// tryRoom sees what a container may open, and what nvidia-smi shows in it.
func (v *verifier) tryRoom(ctx context.Context, name string, r *room) {
	v.check(ctx, "separation: "+name, "its nodes open, every other node of ds01's is refused by the kernel", func(ctx context.Context) (string, error) {
		return v.separate(ctx, r)
	})
	if ctx.Err() != nil {
		return
	}
	out, code, err := v.exec(context.WithoutCancel(ctx), r, "command -v nvidia-smi >/dev/null || exit 127; nvidia-smi -L")
	if err == nil && code == 127 {
		v.skip("nvidia-smi: "+name, "there is none in the container")
		return
	}
	v.check(ctx, "nvidia-smi: "+name, "it lists what is granted, and nothing else", func(context.Context) (string, error) {
		if err == nil && code != 0 {
			err = fmt.Errorf("it ended with %d: %s", code, out)
		}
		if err != nil {
			return "", err
		}
		return listed(out, r.uuids)
	})
}

var uuidListed = regexp.MustCompile(`UUID: ((?:GPU|MIG)-[0-9A-Za-z/-]+)`)

// listed compares what nvidia-smi -L shows with what was granted: instances are
// listed below their card.
func listed(out string, granted []string) (string, error) {
	var cards, instances []string
	for _, found := range uuidListed.FindAllStringSubmatch(out, -1) {
		if strings.HasPrefix(found[1], "MIG-") {
			instances = append(instances, found[1])
		} else {
			cards = append(cards, found[1])
		}
	}
	saw := instances
	if len(saw) == 0 {
		saw = cards
	}
	slices.Sort(saw)
	if !slices.Equal(saw, slices.Sorted(slices.Values(granted))) || len(cards) > 1 {
		return "", fmt.Errorf("it lists the cards %v and the instances %v, granted is %v", cards, instances, granted)
	}
	return strings.Join(saw, ", "), nil
}

// tryOpen opens each file for reading and says what came of it.
const tryOpen = `LC_ALL=C; export LC_ALL; for f in "$@"; do m=$( (exec 3<"$f") 2>&1 ) && m=opened; echo "$f|$m"; done`

// separate puts a node of every device that ds01 knows into the container, as
// root on the host and past everything ds01 does, and has it open them.
func (v *verifier) separate(ctx context.Context, r *room) (saw string, err error) {
	known := map[uint64]string{}
	if err := eachDevice(v.paths.DeviceNodes, known); err != nil {
		return "", err
	}
	own := map[string]bool{} // by path in the container: it may be opened
	for _, path := range r.nodes {
		own[path] = true
	}
	for dev := range known {
		path := fmt.Sprintf("/.ds01-verify-%d-%d", unix.Major(dev), unix.Minor(dev))
		node := filepath.Join(r.root, path)
		if err := errors.Join(unix.Mknod(node, unix.S_IFCHR|0o666, int(dev)), unix.Chmod(node, 0o666)); err != nil { //nolint:gosec // device numbers are small
			return "", fmt.Errorf("put a node into %s: %w", r.Name, err)
		}
		own[path] = r.nodes[dev] != ""
	}
	paths := make([]string, 0, len(own))
	for path := range own {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	out, _, err := v.exec(ctx, r, tryOpen, paths...)
	if err != nil {
		return "", err
	}
	return judgeOpens(out, own)
}

// refusedByKernel is how a control group's rule refuses; a node that opens has a
// driver behind it, or answers that there is none (simulated).
const refusedByKernel = "Operation not permitted"

// judgeOpens compares what came of opening files with which may be opened.
func judgeOpens(out string, own map[string]bool) (string, error) {
	opened, refused := 0, 0
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		path, said, _ := strings.Cut(strings.TrimSpace(line), "|")
		mine, asked := own[path]
		if !asked {
			continue
		}
		seen[path] = true
		opens := said == "opened" || strings.Contains(said, "No such device or address")
		switch {
		case mine && opens:
			opened++
		case !mine && strings.Contains(said, refusedByKernel):
			refused++
		default:
			return "", fmt.Errorf("%s (its own: %t): %s", path, mine, said)
		}
	}
	if len(seen) != len(own) {
		return "", fmt.Errorf("%d of %d nodes were tried: %s", len(seen), len(own), out)
	}
	return fmt.Sprintf("%d opened, %d refused", opened, refused), nil
}

// exec runs a script of sh in a container and returns what it writes.
func (v *verifier) exec(ctx context.Context, r *room, script string, args ...string) (string, int, error) {
	var out bytes.Buffer
	res, err := v.c.Exec(ctx, r.ID, client.ExecOptions{
		Command: append([]string{"sh", "-c", script, "sh"}, args...), Stdout: &out, Stderr: &out,
	})
	return out.String(), res.ExitCode, err
}

// clear removes the containers of this card's runs, those of an earlier one too:
// one may still be in the making, and is waited for.
func (v *verifier) clear(ctx context.Context) error {
	for deadline := time.Now().Add(finishes); ; time.Sleep(200 * time.Millisecond) {
		all, err := v.c.Containers(ctx, false)
		for _, c := range all {
			if strings.HasPrefix(c.Name, v.prefix()) {
				err = errors.Join(err, v.c.Remove(ctx, c.Name, true))
			}
		}
		if !errors.Is(err, problem.ErrConflict) || time.Now().After(deadline) {
			return err
		}
	}
}
