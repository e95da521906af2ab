package tenants_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/e2e/lab"
)

// TestWhereContainersComeFrom makes a container by each road that ends in one,
// with the real programs.
func TestWhereContainersComeFrom(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}, Limits: "defaults: {max_containers_per_user: 10}\n"})
	port := startSSH(t, l)
	gateway := "DOCKER_HOST=unix://" + filepath.Join(l.Root, "run/docker.sock") + " " + lab.Debian
	create := func(name string) string { return gateway + " create --name " + name + " busybox" }
	ssh := fmt.Sprintf("ssh -p %s %s@127.0.0.1 ", port, l.Login("alice"))

	for name, line := range map[string]string{
		"service":    create("service"),
		"terminal":   "script -qec '" + create("terminal") + "' /dev/null",
		"terminal-2": "script -qec \"" + ssh + "-tt '" + create("terminal-2") + "'\" /dev/null",
		"ssh":        ssh + "'" + create("ssh") + "'",
		"ssh-2":      "DOCKER_HOST=ssh://" + l.Login("alice") + "@127.0.0.1:" + port + " " + lab.Debian + " create --name ssh-2 busybox",
	} {
		asService(t, l.Command("alice", "/bin/sh", "-c", line), name)
	}
	asService(t, exec.Command("/bin/sh", "-c", "script -qec \"su - "+l.Login("alice")+" -c '"+create("su")+"'\" /dev/null"), "su")
	asService(t, exec.Command("/bin/sh", "-c", "echo '"+create("su-2")+"; exit' | script -qec 'su - "+l.Login("alice")+"' /dev/null"), "su-2")
	startCron(t, l.Login("alice"), create("cron"))
	startAt(t, l.Login("alice"), create("at"))

	want := map[string]string{
		"service": "service", "terminal": "terminal", "terminal-2": "terminal", "su": "terminal", "su-2": "terminal", "ssh": "ssh-command", "ssh-2": "ssh-command",
		"cron": "cron", "at": "at",
	}
	var all []apitype.Container
	l.Eventually("all are there", time.Minute, func() bool {
		all = nil
		if err := json.Unmarshal([]byte(l.OK("alice", l.Binary(), "container", "list", "--json")), &all); err != nil {
			t.Fatal(err)
		}
		return len(all) == len(want) && !slices.ContainsFunc(all, func(c apitype.Container) bool { return c.ID == "" })
	})
	for _, c := range all {
		if c.Origin != want[c.Name] {
			t.Errorf("%s comes from %q, want %q", c.Name, c.Origin, want[c.Name])
		}
		if got := l.AtEngine("inspect", "-f", `{{index .Config.Labels "aime.mlc.DS01_ORIGIN"}}`, c.ID); got != want[c.Name] {
			t.Errorf("the label of %s says %q", c.Name, got)
		}
	}
	for _, e := range events(t, l) {
		if e.Action == "container create" && e.Origin != want[e.Object] {
			t.Errorf("the log has %s come from %q", e.Object, e.Origin)
		}
	}
}

// asService runs a shell's command as no terminal's and nobody's, whoever runs
// the test.
func asService(t *testing.T, cmd *exec.Cmd, what string) {
	t.Helper()
	cmd.Args[2] = "(" + cmd.Args[2] + ") </dev/null >/dev/null 2>&1 &"
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
}

// startSSH starts an SSH server at which alice can log in as herself and returns
// its port.
func startSSH(t *testing.T, l *lab.Lab) string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, own := t.TempDir(), filepath.Join(l.Home("alice"), ".ssh")
	must(os.MkdirAll("/run/sshd", 0o755)) // where the server leaves its rights
	must(os.MkdirAll(own, 0o700))
	key := func(path string) { must(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).Run()) }
	key(filepath.Join(dir, "host"))
	key(filepath.Join(own, "id_ed25519"))
	must(os.Rename(filepath.Join(own, "id_ed25519.pub"), filepath.Join(own, "authorized_keys")))
	must(os.WriteFile(filepath.Join(own, "config"), []byte("StrictHostKeyChecking no\nLogLevel ERROR\n"), 0o600))
	must(exec.Command("chown", "-R", strconv.Itoa(l.UID("alice")), own).Run())
	config := filepath.Join(dir, "sshd_config")
	must(os.WriteFile(config, []byte("HostKey "+filepath.Join(dir, "host")+"\nPidFile none\nUsePAM yes\n"+
		"SetEnv DOCKER_HOST=unix://"+filepath.Join(l.Root, "run/docker.sock")+"\n"), 0o600))
	for range 5 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		must(listener.Close()) // somebody else may take it now
		said := background(t, exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", config, "-o", "ListenAddress=127.0.0.1:"+port))
		listens := false
		l.Eventually("sshd listens, or can't", 30*time.Second, func() bool {
			listens = strings.Contains(said.String(), "Server listening on")
			return listens || strings.Contains(said.String(), "Cannot bind")
		})
		if listens {
			return port
		}
	}
	t.Fatal("sshd gets no port")
	return ""
}

// background starts a command that ends with the test, and returns what it says.
func background(t *testing.T, cmd *exec.Cmd) *lab.Output {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	said := &lab.Output{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%v: %s", cmd.Args, said)
		}
	})
	return said
}

// apart are words that begin a shell script which sees folders of its own where
// cron and atd look for work: the machine's other jobs aren't run.
const apart = "set -e; mount -t tmpfs none /run; mount -t tmpfs none /var/spool/cron; mount -t tmpfs none /etc/cron.d; mount --bind /dev/null /etc/crontab; "

// startCron has cron run a line as soon as it is up.
func startCron(t *testing.T, login, line string) {
	t.Helper()
	table := "/var/spool/cron/crontabs/" + login
	background(t, exec.Command("unshare", "--mount", "/bin/sh", "-c", apart+
		"mkdir /var/spool/cron/crontabs; echo \"$1\" >"+table+"; chmod 600 "+table+"; chown "+login+" "+table+"; exec cron -f", "sh", "@reboot "+line))
}

// startAt has atd run a line at once.
func startAt(t *testing.T, login, line string) {
	t.Helper()
	background(t, exec.Command("unshare", "--mount", "/bin/sh", "-c", apart+
		"cd /var/spool/cron; mkdir atjobs atspool; chown daemon:daemon atjobs atspool; chmod 1770 atjobs atspool; install -o daemon -g daemon -m 600 /dev/null atjobs/.SEQ; "+
		"cd /; echo \"$1\" | setpriv --reuid "+login+" --regid "+login+" --init-groups at now; exec atd -f", "sh", line))
}
