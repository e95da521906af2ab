package limits

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"ds01.dev/ds01/internal/account"
)

// A MountRoot is a folder of the host below which directories and files may
// be mounted into containers, with the person's own rights.
type MountRoot struct {
	Path     string // absolute and clean; it may begin with Home and hold User
	ReadOnly bool   // nothing below it is ever mounted to be written to
}

// What stands in a root's path for the person it applies to: their home, at
// its beginning, and their login name, as one of its parts.
const (
	Home = "~"
	User = "$USER"
)

// String returns the path, with ":ro" where the root is read-only.
func (r MountRoot) String() string {
	if r.ReadOnly {
		return r.Path + ":ro"
	}
	return r.Path
}

// OfHome reports whether the root is the person's home or lies in it.
func (r MountRoot) OfHome() bool { return r.Path == Home || strings.HasPrefix(r.Path, Home+"/") }

// For returns the root's path for one person, or "" where it means nothing
// for them: they have no home, or a name that is no part of a path.
func (r MountRoot) For(who account.Account) string {
	parts := strings.Split(r.Path, "/")
	for i, p := range parts {
		switch {
		case i == 0 && p == Home:
			if p = path.Clean(who.Home); !path.IsAbs(p) || p == "/" {
				return ""
			}
			parts[i] = p
		case p == User:
			if who.Name == "" || who.Name == "." || who.Name == ".." || strings.Contains(who.Name, "/") {
				return ""
			}
			parts[i] = who.Name
		}
	}
	return strings.Join(parts, "/")
}

func formatRoots(roots []MountRoot) string {
	if len(roots) == 0 {
		return "none"
	}
	texts := make([]string, len(roots))
	for i, r := range roots {
		texts[i] = r.String()
	}
	return strings.Join(texts, " ")
}

// closedFolders are the host's own: kernel file systems, its configuration,
// its secrets, and what engines and ds01 keep.
func closedFolders() []string {
	return []string{
		"/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/var/log", "/var/run", "/var/spool",
		"/var/lib/containerd", "/var/lib/docker", "/var/lib/ds01",
	}
}

// checkRoot accepts what can be a root.
func checkRoot(text string) error {
	rest := text
	if text == Home || strings.HasPrefix(text, Home+"/") {
		rest = "/home" + strings.TrimPrefix(text, Home) // any home will do
	}
	if !path.IsAbs(rest) || path.Clean(rest) != rest || strings.ContainsFunc(rest, unicode.IsControl) {
		return fmt.Errorf("%q is not an absolute path without '..' or a final '/'", text)
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part != User && strings.ContainsAny(part, "$%*~") {
			return fmt.Errorf("%q: only %s at the beginning and %s as a whole part stand for something, and %q would be taken as it is", text, Home, User, part)
		}
	}
	for _, closed := range closedFolders() {
		if closed == rest || strings.HasPrefix(rest, closed+"/") || rest == "/" || strings.HasPrefix(closed, rest+"/") {
			return fmt.Errorf("%q can't be mounted from: %s is the host's own; name the folder that people need", text, closed)
		}
	}
	return nil
}

// roots reads a list of roots into s: paths, or paths with a mode.
func (r *ruleDecoder) roots(s *setting, key, value *yaml.Node) error {
	where := r.rule + ".mounts"
	if isNull(value) {
		return fmt.Errorf("it can't be without limit: write [] for none, [%s] for people's homes", Home)
	}
	if value.Kind != yaml.SequenceNode {
		return fmt.Errorf("it holds %s where a list belongs, such as [%s, /data]", shape(value), Home)
	}
	for _, entry := range value.Content {
		root, ok := r.root(entry, where)
		if !ok {
			continue
		}
		if slices.ContainsFunc(s.roots, func(o MountRoot) bool { return o.Path == root.Path }) {
			r.fail(entry.Line, "%s lists %s twice", where, root.Path)
			continue
		}
		s.roots = append(s.roots, root)
	}
	if !slices.ContainsFunc(s.roots, MountRoot.OfHome) {
		r.warn(key.Line, "%s leaves out %s: those it applies to can't mount anything of their home, workspaces neither", where, Home)
	}
	return nil
}

// root reads one entry: a path, or {path: …, mode: ro|rw}.
func (r *ruleDecoder) root(entry *yaml.Node, where string) (root MountRoot, ok bool) {
	at, ok := entry, true
	if entry.Kind == yaml.MappingNode {
		at = nil
		r.mapping(entry, where, func(key, value *yaml.Node) {
			switch key.Value {
			case "path":
				at = value
			case "mode":
				root.ReadOnly = value.Value == "ro"
				if value.Kind != yaml.ScalarNode || value.Value != "ro" && value.Value != "rw" {
					r.fail(value.Line, "%s: mode is %s where ro or rw belongs", where, shape(value))
					ok = false
				}
			default:
				r.unknown(key, where, []string{"path", "mode"})
				ok = false
			}
		})
		if at == nil {
			r.fail(entry.Line, "%s: an entry has no path", where)
			return root, false
		}
	}
	// A bare ~ is YAML's other way to write null.
	if at.Kind != yaml.ScalarNode || isNull(at) && at.Value != Home || at.Value == "" {
		r.fail(at.Line, "%s lists %s where a path belongs", where, shape(at))
		return root, false
	}
	if err := checkRoot(at.Value); err != nil {
		r.fail(at.Line, "%s: %v", where, err)
		return root, false
	}
	root.Path = at.Value
	return root, ok
}
