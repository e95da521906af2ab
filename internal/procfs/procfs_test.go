package procfs_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"

	"ds01.dev/ds01/internal/procfs"
)

// apart runs a script in a network of its own until the test ends, and waits for its
// first line.
func apart(t testing.TB, script string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("a network of its own needs root")
		}
		t.Skip("a network of its own needs root")
	}
	cmd := exec.Command("unshare", "--net", "busybox", "sh", "-euc", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

func open(t testing.TB, pid int) *procfs.Process {
	t.Helper()
	p, err := procfs.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestANetworkIsWhatGoesThroughItsInterfaces(t *testing.T) {
	// left asks who its neighbour is, and nobody answers.
	const pair = "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >$f; done; ip link add left type veth; " +
		"ip addr add 10.9.9.1/24 dev left; ip link set left up; ip link set veth0 up; ping -c 1 -W 1 10.9.9.2 >/dev/null || echo; exec sleep 60"
	p := open(t, apart(t, pair).Process.Pid)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n, err := p.Network()
		if err != nil {
			t.Fatal(err)
		}
		if len(n) == 2 && n["left"] > 0 && n["left"] == n["veth0"] {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v", n)
		}
	}
}

func TestLoopbackIsNoNetwork(t *testing.T) {
	p := open(t, apart(t, "ip link set lo up; ping -c 1 -s 5000 127.0.0.1 >/dev/null; echo; exec sleep 60").Process.Pid)
	if n, err := p.Network(); err != nil || len(n) != 0 || n == nil {
		t.Errorf("%v, %v", n, err)
	}
}

func TestManyInterfacesAreAllRead(t *testing.T) {
	p := open(t, apart(t, "for i in $(seq 50); do ip link add if$i type veth; done; echo; exec sleep 60").Process.Pid)
	for range 2 { // with the buffer of the time before
		if n, err := p.Network(); err != nil || len(n) != 100 {
			t.Errorf("%d, %v", len(n), err)
		}
	}
}

func TestAProcessThatHasEndedIsNoOther(t *testing.T) {
	cmd := apart(t, "echo; exec sleep 60")
	p := open(t, cmd.Process.Pid)
	if _, err := p.Network(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if n, err := p.Network(); err == nil {
		t.Errorf("it still has %v", n)
	}
	if _, err := procfs.Open(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
