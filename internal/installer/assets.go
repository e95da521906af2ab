package installer

import (
	"path/filepath"

	"ds01.dev/ds01/deploy"
	"ds01.dev/ds01/internal/takeover"
)

// Program is where ds01 is installed.
const Program = "/usr/bin/ds01"

// Units of ds01's: where a package puts them, and where an administrator does.
const (
	packaged = "/lib/systemd/system/ds01.service"
	own      = "/etc/systemd/system/ds01.service"
)

// UnitAt returns the path of ds01's unit, with and without a package of ds01.
func UnitAt(fromPackage bool) string {
	if fromPackage {
		return packaged
	}
	return own
}

// Completion is a shell's script, at the path where the shell looks.
type Completion struct {
	Path string
	Text []byte
}

// Placed lists ds01's files. The program is copied from where it runs; a
// package of ds01 brings what isn't the host's to configure.
func Placed(program takeover.File, fromPackage bool, links []string, completions []Completion) []takeover.Placed {
	var all []takeover.Placed
	add := func(path string, f takeover.File, why string) {
		all = append(all, takeover.Placed{Path: path, File: f, Why: why})
	}
	theirs := func(path string, text []byte, why string) {
		all = append(all, takeover.Placed{Path: path, File: takeover.Content(text), Why: why, Theirs: true})
	}
	if !fromPackage {
		program.Mode, program.UID, program.GID, program.Text = 0o755, 0, 0, nil
		add(Program, program, "the program")
		add("/usr/lib/ds01/steps/runc", takeover.Link(Program), "starts steps of builds")
		add("/usr/lib/ds01/ds01-runtime", takeover.Link(Program), "gives containers their GPUs when they start")
		for _, name := range links {
			add(filepath.Join("/usr/bin", name), takeover.Link("ds01"), "a name of ds01's")
		}
		for _, c := range completions {
			add(c.Path, takeover.Content(c.Text), "completion")
		}
	}
	theirs("/etc/ds01/ds01.yaml", deploy.Configuration(), "the daemon's configuration")
	theirs("/etc/ds01/resource-limits.yaml", deploy.DefaultLimits(), "limits")
	if !fromPackage {
		add("/etc/profile.d/ds01-greeting.sh", takeover.Content(deploy.Greeting()), "tells at login what is news")
		add(own, takeover.Content(deploy.Service()), "the daemon's unit")
		all = append(all, takeover.Placed{
			Path: "/etc/systemd/system/ds01.slice", File: takeover.Content(deploy.Slice()), Why: "everybody's slices are in it", Theirs: true, Driver: "systemd",
		})
	}
	add(takeover.ServiceDropIn, takeover.Content(deploy.EngineDropIn()), "the engine starts steps of builds by ds01")
	return all
}
