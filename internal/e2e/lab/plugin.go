package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Plugin is one of docker's that tools/NAME pins, a module of its own.
type Plugin struct {
	Name     string
	module   string
	variable string // of the module, where it keeps its version
}

// Buildx is what newer clients build with.
func Buildx() Plugin {
	return Plugin{Name: "buildx", module: "github.com/docker/buildx", variable: "version.Version"}
}

// Compose is docker compose.
func Compose() Plugin {
	return Plugin{Name: "compose", module: "github.com/docker/compose/v2", variable: "internal.Version"}
}

// Wanted reports whether the plugin may be tried: to build one takes minutes, so
// that it is for the long mode, or for whom DS01_TEST_NAME names one that is there.
func (p Plugin) Wanted() bool { return Long() || p.there() != "" }

func (p Plugin) there() string { return os.Getenv("DS01_TEST_" + strings.ToUpper(p.Name)) }

// Program returns where the plugin is, which everybody may run. It is built with
// its version in it, which compose asks of buildx.
func (l *Lab) Program(p Plugin) string {
	l.t.Helper()
	if there := p.there(); there != "" {
		return there
	}
	program := filepath.Join(filepath.Dir(l.Root), "docker-"+p.Name)
	if _, err := os.Stat(program); err == nil {
		return program
	}
	source := filepath.Join("../../../tools", p.Name)
	list := exec.Command("go", "list", "-m", "-f", "{{.Version}}", p.module)
	list.Dir = source
	version, err := list.Output()
	l.must(err)
	build := exec.Command("go", "build", "-o", program, "-ldflags", "-X "+p.module+"/"+p.variable+"="+strings.TrimSpace(string(version)), "tool")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		l.t.Fatalf("build %s: %v\n%s", p.Name, err, out)
	}
	return program
}

// Give links plugins into the folder of somebody's configuration of docker.
func (l *Lab) Give(who, config string, plugins ...Plugin) {
	l.t.Helper()
	dir := filepath.Join(config, "cli-plugins")
	l.OK(who, "mkdir", "-p", dir)
	for _, p := range plugins {
		l.OK(who, "ln", "-s", l.Program(p), filepath.Join(dir, "docker-"+p.Name))
	}
}
