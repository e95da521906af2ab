package peer_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/peer"
)

// asked starts a command line, in which CLIENT connects, and returns who
// connected.
func asked(t *testing.T, line string, env ...string) peer.Peer {
	t.Helper()
	l, client := listen(t)
	cmd := exec.Command("/bin/sh", "-c", "("+line+") &") // it descends from nobody, who could have a terminal
	cmd.Env = append(os.Environ(), "CLIENT="+client+" "+clientArg+" "+l.Addr().String(), "DIR="+filepath.Dir(client))
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()
	})
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed
	p, err := peer.Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOriginsAreReadFromTheKernel(t *testing.T) {
	const someone = "setpriv --reuid 70001 --regid 70001 --clear-groups "
	for name, c := range map[string]struct{ line, want string }{
		"nothing that it descends from tells": {someone + "$CLIENT; true", label.Service},
		"a terminal":                          {`script -qec "` + someone + `$CLIENT" /dev/null; true`, label.Terminal},
		"su -c at a terminal":                 {`script -qec "setsid -w ` + someone + `$CLIENT; true" /dev/null; true`, label.Terminal},
		"cron":                                {"cp /bin/sh $DIR/cron; $DIR/cron -c '" + someone + "sh -c \"$CLIENT; true\"; true'; true", label.Cron},
		"cron's with a terminal":              {"cp /bin/sh $DIR/cron; $DIR/cron -c 'script -qec \"" + someone + "$CLIENT\" /dev/null; true'; true", label.Cron},
		"somebody's own program, called cron": {"cp /bin/sh $DIR/cron; " + someone + "$DIR/cron -c '$CLIENT; true'; true", label.Service},
		"a program of root's under the name":  {"ln -s /bin/sh $DIR/atd; $DIR/atd -c '" + someone + "$CLIENT; true'; true", label.Service},
	} {
		t.Run(name, func(t *testing.T) {
			p := asked(t, c.line)
			if got := peer.NewOrigins().Of(p); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestNoOriginIsKnownOf(t *testing.T) {
	conn, cmd := connected(t, user(70001, 70001))
	p, err := peer.Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	if got := peer.NewOrigins().Of(p); got == "" {
		t.Fatal("nothing is known of one that runs")
	}
	origins := peer.NewOrigins()
	first := origins.Of(p)
	through := p
	through.Through = "abc"
	number := peer.Peer{UID: p.UID, GID: p.GID, PID: p.PID} // as when another process got the number
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got := origins.Of(p); got != first || first == "" {
		t.Errorf("of one that was asked for before it ended: %q, then %q", first, got)
	}
	for name, got := range map[string]string{
		"one in a container": peer.NewOrigins().Of(through),
		"one that ended":     peer.NewOrigins().Of(p),
		"a number":           peer.NewOrigins().Of(number),
		"anybody, by nobody": (*peer.Origins)(nil).Of(p),
	} {
		if got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A service is told by the group that systemd puts it in, which root can make
// where systemd's hierarchy is one of its own.
func TestServicesAreToldByTheirGroup(t *testing.T) {
	needRoot(t)
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(own), ":name=systemd:/\n") {
		t.Skip("systemd's hierarchy isn't this test's to change; internal/e2e/tenants tries it under systemd")
	}
	tree := t.TempDir()
	if err := unix.Mount("cgroup", tree, "cgroup", 0, "none,name=systemd"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(tree, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]struct {
		env  string
		want string
	}{
		"a service":                     {"OTHER_TRIGGER_TIMER_X=1", label.Service},
		"one that a timer has started":  {"TRIGGER_TIMER_REALTIME_USEC=1", label.Timer},
		"one that a path has triggered": {"TRIGGER_PATH=/TRIGGER_TIMER_", label.Service},
	} {
		t.Run(name, func(t *testing.T) {
			group := filepath.Join(tree, fmt.Sprintf("ds01t%d.service", os.Getpid()))
			if err := os.Mkdir(group, 0o755); err != nil {
				t.Fatal(err)
			}
			p := asked(t, "$CLIENT; true", c.env)
			if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(p.PID)), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := peer.NewOrigins().Of(p); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for os.Remove(group) != nil { // until it is gone
				if t.Context().Err() != nil {
					t.Fatal("the group stays")
				}
			}
		})
	}
}
