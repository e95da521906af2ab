package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/probe"
	"ds01.dev/ds01/internal/safety"
)

// clientChecks are what only the caller's own process can tell: where their
// docker looks, and which sockets open for them.
func (a *app) clientChecks(ctx context.Context) []apitype.Check {
	paths, _, err := a.hostPaths()
	if err != nil {
		return nil // a daemon at an odd place says nothing about this host
	}
	checks := []apitype.Check{judgeClient(a.dockerHost(), paths.Gateway)}
	if os.Geteuid() == 0 {
		return checks // the daemon has told, for everybody
	}
	run := filepath.Dir(paths.RunDir)
	sockets := append(probe.Sockets(ctx, run, paths.Gateway, paths.APISocket), probe.TCP(ctx)...)
	return append(checks, safety.JudgeSockets(sockets)...)
}

// judgeClient says whether a docker client that asks at host reaches the
// gateway.
func judgeClient(host, gateway string) apitype.Check {
	const name = "docker client"
	at := strings.TrimPrefix(strings.Replace(host, "unix:///var/run/", "unix:///run/", 1), "unix://")
	if at == gateway {
		return apitype.Check{Name: name, Result: apitype.CheckOK, Detail: "docker asks at the gateway, " + gateway + "."}
	}
	return apitype.Check{
		Name: name, Result: apitype.CheckWarn,
		Detail: fmt.Sprintf("docker asks at %s; the gateway of this host is at %s.", host, gateway),
		Next:   "unset DOCKER_HOST; docker context use default. Or export DOCKER_HOST=unix://" + gateway + ".",
	}
}

// dockerHost returns where the caller's docker asks, as docker finds it out:
// the variable, else the context in use, else the usual place.
func (a *app) dockerHost() string {
	if host := a.env("DOCKER_HOST"); host != "" {
		return host
	}
	folder := a.env("DOCKER_CONFIG")
	if folder == "" {
		folder = filepath.Join(a.env("HOME"), ".docker")
	}
	name := a.env("DOCKER_CONTEXT")
	if name == "" {
		var file struct{ CurrentContext string }
		readJSON(filepath.Join(folder, "config.json"), &file)
		name = file.CurrentContext
	}
	if name == "" || name == "default" {
		return "unix:///run/docker.sock"
	}
	var meta struct {
		Endpoints struct{ Docker struct{ Host string } }
	}
	readJSON(filepath.Join(folder, "contexts/meta", fmt.Sprintf("%x", sha256.Sum256([]byte(name))), "meta.json"), &meta)
	if meta.Endpoints.Docker.Host == "" {
		return "the context " + name
	}
	return meta.Endpoints.Docker.Host
}

// readJSON leaves v as it is where there is no such file.
func readJSON(path string, v any) {
	data, err := os.ReadFile(path) //nolint:gosec // the caller's own file
	if err == nil {
		_ = json.Unmarshal(data, v) // docker says what is wrong with it
	}
}
