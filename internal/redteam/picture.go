package redteam

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A picture is how everything stands that no attack may change: what it is →
// how it stands.
type picture map[string]string

// changes lists what differs between two pictures, in words.
func (p picture) changes(now picture) []string {
	var found []string
	for _, key := range slices.Sorted(maps.Keys(p)) {
		if now[key] != p[key] {
			found = append(found, fmt.Sprintf("%s has changed: %s, was %s", key, brief(now[key]), brief(p[key])))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if _, known := p[key]; !known {
			found = append(found, fmt.Sprintf("%s is new: %s", key, brief(now[key])))
		}
	}
	return found
}

func brief(text string) string {
	if text == "" {
		return "nothing"
	}
	return text[:min(len(text), 160)]
}

// look takes a picture of the canaries, the victim's things and what the
// engine has under names of the scene's.
func (s *Scene) look(ctx context.Context) picture {
	p := picture{}
	s.lookAtFiles(p)
	if s.Victim != nil {
		s.lookAtVictim(ctx, p)
	}
	if s.EngineSocket != "" {
		s.lookAtEngine(ctx, p)
	}
	return p
}

// lookAtFiles reads every file below the scene's folder.
func (s *Scene) lookAtFiles(p picture) {
	_ = filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		p["the host's "+path] = describe(path, err)
		return nil
	})
}

func describe(path string, err error) string {
	info, serr := os.Lstat(path)
	if err != nil || serr != nil {
		return "unreadable"
	}
	owner := "?"
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = fmt.Sprintf("%d:%d", st.Uid, st.Gid)
	}
	if !info.Mode().IsRegular() {
		return fmt.Sprintf("%v %s", info.Mode(), owner)
	}
	data, err := os.ReadFile(path) //nolint:gosec // the scene's own file
	if err != nil {
		return "unreadable"
	}
	return fmt.Sprintf("%v %s %x", info.Mode(), owner, sha256.Sum256(data))
}

// lookAtVictim keeps what stays as it is of containers that nobody touches.
func (s *Scene) lookAtVictim(ctx context.Context, p picture) {
	for _, c := range []struct{ what, id string }{{"another's container", s.facts["{victim}"]}, {"another's stopped container", s.facts["{stopped}"]}} {
		var doc struct {
			Name, RestartCount any
			State              struct {
				Status, StartedAt       string
				Paused, Running         bool
				Pid, ExitCode           int
				Restarting, OOMKilled   bool
				FinishedAt, Error, Dead any
			}
			HostConfig      json.RawMessage
			NetworkSettings struct {
				Networks map[string]struct{ NetworkID string }
			}
		}
		var err error
		if s.EngineSocket != "" {
			_, err = s.engine(ctx, "GET", "/containers/"+c.id+"/json", "", &doc)
		} else {
			_, err = s.ask(ctx, *s.Victim, "GET", "/containers/"+c.id+"/json", "", &doc)
		}
		p[c.what] = fmt.Sprintf("%v %+v %x %v %v", doc.Name, doc.State, sha256.Sum256(doc.HostConfig), doc.NetworkSettings.Networks, err)
		if s.EngineSocket == "" {
			continue
		}
		var files []struct{ Path string }
		if _, err := s.engine(ctx, "GET", "/containers/"+c.id+"/changes", "", &files); err == nil {
			p["the files of "+c.what] = fmt.Sprint(files)
		}
	}
}

// lookAtEngine looks at what the victim and everybody have at the engine.
func (s *Scene) lookAtEngine(ctx context.Context, p picture) {
	for _, c := range []struct{ what, path, fact string }{
		{"another's image", "/images/%s/json", "{victimimage}"},
		{"an image that is everybody's", "/images/%s/json", "{shared}"},
		{"the image that is used", "/images/%s/json", "{image}"},
		{"another's volume", "/volumes/%s", "{victimvolume}"},
		{"another's network", "/networks/%s", "{victimnetwork}"},
	} {
		if s.facts[c.fact] == "" {
			continue
		}
		var doc struct {
			ID         string `json:"Id"`
			Name       string
			Driver     string
			Containers map[string]any
			Labels     map[string]string
		}
		status, err := s.engine(ctx, "GET", fmt.Sprintf(c.path, s.facts[c.fact]), "", &doc)
		p[c.what] = fmt.Sprintf("%d %s %s %s %v %v %v", status, doc.ID, doc.Name, doc.Driver, doc.Containers, doc.Labels, err)
	}
	var info struct {
		Swarm struct{ LocalNodeState string }
	}
	if _, err := s.engine(ctx, "GET", "/info", "", &info); err == nil {
		p["the engine's swarm"] = info.Swarm.LocalNodeState
	}
	var plugins []struct{ Name string }
	if _, err := s.engine(ctx, "GET", "/plugins", "", &plugins); err == nil {
		p["the engine's plugins"] = fmt.Sprint(plugins)
	}
	s.lookForNames(ctx, p)
}

// lookForNames lists networks, volumes and images that an attack left under a
// name of the scene's. What is named as the attacker's own is theirs to have,
// if it is harmless.
func (s *Scene) lookForNames(ctx context.Context, p picture) {
	suffix, own := fmt.Sprintf("._.%d", s.Attacker.UID), fmt.Sprintf("ds01-%d/", s.Attacker.UID)
	var networks []struct {
		Name, Driver, Scope string
		Options             map[string]string
		IPAM                struct{ Config []struct{ Subnet string } }
	}
	if _, err := s.engine(ctx, "GET", "/networks", "", &networks); err == nil {
		for _, n := range networks {
			harmless := n.Driver == "bridge" && n.Scope == "local" && n.Options["com.docker.network.bridge.name"] == "" &&
				!strings.Contains(fmt.Sprint(n.IPAM), othersNetwork)
			if strings.Contains(n.Name, s.mark) && (!strings.HasSuffix(n.Name, suffix) || !harmless) {
				p["the network "+n.Name] = fmt.Sprintf("%s %s %v", n.Driver, n.Scope, n.Options)
			}
		}
	}
	var volumes struct {
		Volumes []struct {
			Name, Driver string
			Options      map[string]string
		}
	}
	if _, err := s.engine(ctx, "GET", "/volumes", "", &volumes); err == nil {
		for _, v := range volumes.Volumes {
			harmless := v.Driver == "local" && v.Options["device"] == "" && v.Options["o"] == ""
			if strings.Contains(v.Name, s.mark) && (!strings.HasSuffix(v.Name, suffix) || !harmless) {
				p["the volume "+v.Name] = fmt.Sprintf("%s %v", v.Driver, v.Options)
			}
		}
	}
	var images []struct{ RepoTags []string }
	if _, err := s.engine(ctx, "GET", "/images/json", "", &images); err == nil {
		for _, i := range images {
			for _, tag := range i.RepoTags {
				if strings.Contains(tag, s.mark) && !strings.HasPrefix(tag, own) {
					p["the image "+tag] = "there"
				}
			}
		}
	}
}
