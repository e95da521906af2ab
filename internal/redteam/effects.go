package redteam

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// effects says what came of an attack in which heard was answered. Nothing
// is what should.
func (s *Scene) effects(ctx context.Context, heard []byte) []string {
	found := append(s.leaks(heard), s.trap.told(ctx)...)
	found = append(found, s.before.changes(s.look(ctx))...)
	found = append(found, s.strangeFiles()...)
	found = append(found, s.looseContainers(ctx)...)
	return append(found, s.strangeProcesses()...)
}

// leaks finds secrets in what was answered, and what a container says that it
// reached.
func (s *Scene) leaks(heard []byte) []string {
	var found []string
	for _, secret := range slices.Sorted(maps.Keys(s.secrets)) {
		if bytes.Contains(heard, []byte(secret)) {
			found = append(found, s.secrets[secret]+" was told")
		}
	}
	for rest := heard; ; {
		_, after, ok := bytes.Cut(rest, []byte(s.facts.reached()))
		if !ok {
			slices.Sort(found)
			return slices.Compact(found)
		}
		line, _, _ := bytes.Cut(after, []byte("\n"))
		line, _, _ = bytes.Cut(line, []byte(`\n`))
		found, rest = append(found, "a container reached "+strings.TrimSpace(string(line))), after
	}
}

// strangeFiles finds what isn't the attacker's in the attacker's own folder:
// a setuid file of root's there is root on the host.
func (s *Scene) strangeFiles() []string {
	var found []string
	work := s.facts["{work}"]
	if work == "" {
		return nil
	}
	_ = filepath.WalkDir(work, func(path string, _ fs.DirEntry, err error) error {
		info, serr := os.Lstat(path)
		if err != nil || serr != nil {
			return nil //nolint:nilerr // what is gone is not there
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if int(st.Uid) != s.Attacker.UID {
			found = append(found, fmt.Sprintf("a file of uid %d's lies in the attacker's folder: %s, %v", st.Uid, filepath.Base(path), info.Mode()))
		}
		if info.Mode()&(os.ModeDevice|os.ModeCharDevice) != 0 {
			found = append(found, "a device node lies in the attacker's folder: "+filepath.Base(path))
		}
		return nil
	})
	return found
}

// looseContainers judges every container that an attack has made.
func (s *Scene) looseContainers(ctx context.Context) []string {
	rows, err := s.marked(ctx)
	if err != nil {
		return []string{"the containers can't be listed: " + err.Error()}
	}
	var found []string
	for _, id := range rows {
		look, err := s.inspect(ctx, id)
		if err != nil || look.ID == "" {
			continue // removed since
		}
		if s.EngineSocket != "" && !strings.HasSuffix(look.Name, fmt.Sprintf("._.%d", s.Attacker.UID)) {
			found = append(found, "a container past ds01: "+look.Name)
		}
		if look.Config.Labels[ruledKey] == ruledValue {
			found = append(found, "a container that the site's rules deny")
		}
		found = append(found, Judge(look, s.plain, s.MountFolder, s.Attacker.UID)...)
	}
	return found
}

// marked lists the containers that carry the scene's label, of the attacker's
// own or, where it can be asked, at the engine.
func (s *Scene) marked(ctx context.Context) ([]string, error) {
	var rows []struct {
		ID string `json:"Id"`
	}
	path := "/containers/json?all=1&filters=" + url.QueryEscape(`{"label":["`+s.mark+`"]}`)
	var err error
	if s.EngineSocket != "" {
		_, err = s.engine(ctx, "GET", path, "", &rows)
	} else {
		_, err = s.ask(ctx, s.Attacker, "GET", path, "", &rows)
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids, err
}

// strangeProcesses finds processes outside of containers that have the
// scene's mark in their command line and aren't the attacker's.
func (s *Scene) strangeProcesses() []string {
	host, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	var found []string
	for _, name := range names {
		line, err := os.ReadFile(name) //nolint:gosec // a process of the host
		if err != nil || !bytes.Contains(line, []byte(s.mark)) {
			continue
		}
		if space, err := os.Readlink(filepath.Join(filepath.Dir(name), "ns/mnt")); err == nil && space == host {
			found = append(found, "a process on the host: "+strings.ReplaceAll(string(line[:min(len(line), 120)]), "\x00", " "))
		}
	}
	return found
}

// sweep removes what an attack has left; at the end the scene's own too.
func (s *Scene) sweep(ctx context.Context, all bool) error {
	ids, err := s.marked(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id == s.facts["{own}"] && !all {
			continue
		}
		status, err := s.ask(ctx, s.Attacker, "DELETE", "/containers/"+id+"?force=1&v=1", "", nil)
		if err == nil && status >= 400 && s.EngineSocket != "" {
			_, err = s.engine(ctx, "DELETE", "/containers/"+id+"?force=1&v=1", "", nil)
		}
		if err != nil {
			return fmt.Errorf("remove what an attack left: %w", err)
		}
	}
	return s.sweepEngine(ctx)
}

// sweepEngine removes networks, volumes and images under the scene's names
// that aren't its own.
func (s *Scene) sweepEngine(ctx context.Context) error {
	if s.EngineSocket == "" {
		return nil
	}
	var networks []struct{ Name string }
	var volumes struct{ Volumes []struct{ Name string } }
	var images []struct{ RepoTags []string }
	for path, v := range map[string]any{"/networks": &networks, "/volumes": &volumes, "/images/json": &images} {
		if _, err := s.engine(ctx, "GET", path, "", v); err != nil {
			return err
		}
	}
	var paths []string
	for _, n := range networks {
		paths = append(paths, s.leftover(n.Name, "{victimnetwork}", "/networks/"))
	}
	for _, v := range volumes.Volumes {
		paths = append(paths, s.leftover(v.Name, "{victimvolume}", "/volumes/"))
	}
	for _, i := range images {
		for _, tag := range i.RepoTags {
			if tag != s.facts["{shared}"] {
				paths = append(paths, s.leftover(tag, "{victimimage}", "/images/"))
			}
		}
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		if _, err := s.engine(ctx, "DELETE", path+"?force=1", "", nil); err != nil {
			return err
		}
	}
	return nil
}

// leftover returns what to delete for a name of an attack's, "" for others.
func (s *Scene) leftover(name, own, below string) string {
	if !strings.Contains(name, s.mark) || name == s.facts[own] {
		return ""
	}
	return below + name
}
