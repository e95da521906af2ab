package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"ds01.dev/ds01/deploy"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
)

type limitsFile = limits.File

// settings is the configuration in force. It is safe for concurrent use.
type settings struct {
	paths config.Paths
	log   *slog.Logger

	mu   sync.Mutex
	conf config.Config
	doc  *limits.Document
	told []string // warnings of the files in force
	bad  error    // why the files on disk aren't in force
}

// loadSettings reads the files for the first time: a bad one is an error.
func loadSettings(ctx context.Context, paths config.Paths, log *slog.Logger) (*settings, error) {
	s := &settings{paths: paths, log: log}
	return s, s.reload(ctx)
}

// reload reads the files again. When one of them is bad, what is in force
// stays, and problem says why.
func (s *settings) reload(ctx context.Context) error {
	conf, doc, told, err := s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad = err; err != nil {
		return err
	}
	if s.doc != nil && (conf.Engine != s.conf.Engine || conf.Gateway != s.conf.Gateway || conf.Cgroup != s.conf.Cgroup ||
		conf.GPU.Provider != s.conf.GPU.Provider || fmt.Sprint(conf.GPU.Sim) != fmt.Sprint(s.conf.GPU.Sim)) {
		told = append(told, "engine, gateway, gpu and cgroup of ds01.yaml take effect when the daemon starts again.")
		conf.Engine, conf.Gateway, conf.Cgroup, conf.GPU = s.conf.Engine, s.conf.Gateway, s.conf.Cgroup, s.conf.GPU
	}
	for _, w := range told {
		s.log.WarnContext(ctx, "configuration", "warning", w)
	}
	s.conf, s.doc, s.told = conf, doc, told
	return nil
}

func (s *settings) read() (config.Config, *limits.Document, []string, error) {
	conf, err := readConfig(s.paths.Config)
	if err != nil {
		return conf, nil, nil, err
	}
	file, told, err := readLimits(s.paths.Limits)
	if err != nil {
		return conf, nil, nil, err
	}
	members, err := readMembers(s.paths.Members)
	if err != nil {
		return conf, nil, nil, err
	}
	doc, warnings, err := limits.Decode(file, members)
	if err != nil {
		return conf, nil, nil, &problem.Error{
			What: "limits file " + file.Name + " can't be used", Why: err,
			Next: "Correct the file; 'ds01 limits check " + s.paths.Limits + "' shows every error.",
		}
	}
	for _, w := range warnings {
		told = append(told, w.String())
	}
	return conf, doc, told, nil
}

func readConfig(path string) (config.Config, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the daemon's own file
	if errors.Is(err, fs.ErrNotExist) {
		return config.Default(), nil
	}
	if err != nil {
		return config.Config{}, &problem.Error{What: "configuration not read", Why: problem.Because(problem.ErrUnavailable, err.Error())}
	}
	return config.Decode(path, data)
}

// readLimits returns the limits file, or the one that ships where the host
// has none.
func readLimits(path string) (limits.File, []string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the daemon's own file
	if errors.Is(err, fs.ErrNotExist) {
		return limits.File{Name: "built-in resource-limits.yaml", Data: deploy.DefaultLimits()},
			[]string{path + " doesn't exist: the limits that ship with ds01 are in force."}, nil
	}
	if err != nil {
		return limits.File{}, nil, &problem.Error{What: "limits file not read", Why: problem.Because(problem.ErrUnavailable, err.Error())}
	}
	return limits.File{Name: filepath.Base(path), Data: data}, nil, nil
}

// readMembers returns the members files by group; no folder means none.
func readMembers(folder string) (map[string]limits.File, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &problem.Error{What: "members files not read", Why: problem.Because(problem.ErrUnavailable, err.Error())}
	}
	members := map[string]limits.File{}
	for _, e := range entries {
		group, ok := strings.CutSuffix(e.Name(), ".members")
		if !ok || e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, e.Name())) //nolint:gosec // the daemon's own folder
		if err != nil {
			return nil, &problem.Error{What: "members file not read", Why: problem.Because(problem.ErrUnavailable, err.Error())}
		}
		members[group] = limits.File{Name: "groups/" + e.Name(), Data: data}
	}
	return members, nil
}

func (s *settings) config() config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conf
}

func (s *settings) document() *limits.Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doc
}

func (s *settings) warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}

// problem says why the files on disk aren't in force, "" when they are.
func (s *settings) problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad == nil {
		return ""
	}
	return s.bad.Error()
}
