package scratch_test

import (
	"os/exec"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/docker/scratch"
)

func TestAnEngineWithNetworksLeavesTheHostsAlone(t *testing.T) {
	before := hostNetwork(t)
	dir := folder(t)
	e := start(t, scratch.Options{Dir: dir, Remap: true, LiveRestore: true, NetNS: true})
	docker(t, e, "network", "create", "--subnet", "10.192.0.0/26", "mine")
	docker(t, e, "run", "-d", "--name", "web", "--network", "mine", "-p", "127.0.0.1:20000:80", "busybox",
		"sh", "-c", "mkdir /www; echo hello >/www/index.html; httpd -f -p 80 -h /www")
	fetch := func(url string) string {
		out, err := exec.Command("nsenter", "--net="+e.NetNS(), "curl", "-s", "--max-time", "5", url).CombinedOutput()
		if err != nil {
			return err.Error() + string(out)
		}
		return strings.TrimSpace(string(out))
	}
	eventually(t, func() bool { return fetch("http://127.0.0.1:20000/") == "hello" })
	if got := docker(t, e, "run", "--rm", "--network", "mine", "busybox", "wget", "-q", "-O", "-", "http://web/"); got != "hello" {
		t.Errorf("by name on its network: %q", got)
	}
	if after := hostNetwork(t); after != before {
		t.Errorf("the host's network was\n%s\nis\n%s", before, after)
	}
	if err := e.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return fetch("http://127.0.0.1:20000/") == "hello" })
	stop(t, e)
	wantNothingOf(t, dir, e.CgroupParent())
	if after := hostNetwork(t); after != before {
		t.Errorf("the host's network was\n%s\nis\n%s", before, after)
	}
}

// hostNetwork returns the host's firewall rules, and its bridges and routes.
func hostNetwork(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, words := range [][]string{{"iptables", "-S"}, {"iptables", "-t", "nat", "-S"}, {"busybox", "ip", "route"}, {"ls", "/sys/class/net"}} {
		out, err := exec.Command(words[0], words[1:]...).Output()
		if err != nil {
			t.Fatal(words, err)
		}
		all.Write(out)
	}
	return all.String()
}
