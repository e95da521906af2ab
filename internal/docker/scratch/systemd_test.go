//go:build systemd

// This test runs where systemd is the first process, as root: tools/vm-test.sh
// brings a machine for it.
package scratch_test

import (
	"os/exec"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/docker/scratch"
)

func TestAnEngineUnderSystemdLeavesNothing(t *testing.T) {
	dir := folder(t)
	e := start(t, scratch.Options{Dir: dir, Remap: true, CgroupDriver: scratch.Systemd})
	id := run(t, e)
	pid := docker(t, e, "inspect", "-f", "{{.State.Pid}}", id)
	if got, want := read(t, "/proc/"+pid+"/cgroup"), "0::/"+e.CgroupParent()+"/docker-"+id+".scope\n"; got != want {
		t.Errorf("the container is in %q, want %q", got, want)
	}
	stop(t, e)
	wantNothingOf(t, dir, "/"+e.CgroupParent())
	out, err := exec.Command("systemctl", "list-units", "--all", "--plain", "--no-legend", e.CgroupParent(), "docker-"+id+".scope").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("systemd still has %s (%v)", out, err)
	}
}
