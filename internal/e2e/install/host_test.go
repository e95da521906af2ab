package install_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker/scratch"
	"ds01.dev/ds01/internal/e2e/lab"
)

// binary is the ds01 under test, built once.
var binary string

// lesser is the name under which the test binary is a runtime.
const lesser = "lesser-runc"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == lesser {
		fmt.Fprintln(os.Stderr, runLesser(os.Args))
		os.Exit(1)
	}
	if !lab.Long() { // it isn't needed
		os.Exit(m.Run())
	}
	os.Exit(lab.Main(m, &binary))
}

// runLesser is runc, but asks for no more than this machine's root may have:
// where that lacks CAP_SYS_RESOURCE, a privileged container doesn't start else.
func runLesser(args []string) error {
	for i, word := range args {
		if word == "create" || word == "run" {
			if at := slices.Index(args, "--bundle"); at > 0 && i > 0 {
				if err := lessen(filepath.Join(args[at+1], "config.json"), "process"); err != nil {
					return err
				}
			}
		}
		if word == "exec" {
			if at := slices.Index(args, "--process"); at > 0 {
				if err := lessen(args[at+1], ""); err != nil {
					return err
				}
			}
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	return syscall.Exec(runc, append([]string{"runc"}, args[1:]...), os.Environ())
}

// lessen changes a process in a file of JSON.
func lessen(path, key string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var whole map[string]any
	if err := json.Unmarshal(data, &whole); err != nil {
		return err
	}
	process := whole
	if key != "" {
		process, _ = whole[key].(map[string]any)
	}
	sets, _ := process["capabilities"].(map[string]any)
	for name, set := range sets {
		list, _ := set.([]any)
		sets[name] = slices.DeleteFunc(list, func(one any) bool { return one == "CAP_SYS_RESOURCE" })
	}
	delete(process, "oomScoreAdj")
	delete(process, "rlimits")
	if data, err = json.Marshal(whole); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// packages make the host: systemd, and Docker as Debian has it.
const packages = "systemd,systemd-sysv,dbus,libpam-systemd,docker.io,containerd,runc,tini,iptables,busybox-static,procps"

// tree returns a folder with the host's files, which is made once for a machine.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("/var/cache", fmt.Sprintf("ds01-test-host-%.8x", sha256.Sum256([]byte(packages))))
	lab.Must(t, os.MkdirAll("/var/cache", 0o755))
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	lab.Must(t, err)
	defer lock.Close()
	lab.Must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	lab.Must(t, os.RemoveAll(dir+".part"))
	if out, err := exec.Command("debootstrap", "--variant=minbase", "--include="+packages, "bookworm", dir+".part").CombinedOutput(); err != nil {
		t.Fatalf("debootstrap: %v\n%s", err, tail(string(out)))
	}
	caches, err := filepath.Glob(dir + ".part/var/cache/apt/archives/*.deb")
	lab.Must(t, err)
	for _, file := range caches {
		lab.Must(t, os.Remove(file))
	}
	lab.Must(t, os.Rename(dir+".part", dir))
	return dir
}

func tail(text string) string { return text[max(0, len(text)-2000):] }

// site is an engine that runs hosts.
type site struct{ engine *scratch.Engine }

func newSite(t *testing.T) site {
	t.Helper()
	if !lab.Long() {
		t.Skip("it takes minutes: make test-install")
	}
	if missing := scratch.Missing(); len(missing) > 0 || os.Geteuid() != 0 {
		t.Fatalf("it needs root and %v", missing)
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		t.Fatal("it needs debootstrap: apt-get install debootstrap")
	}
	dir, err := os.MkdirTemp("/tmp", "ds01t-host-")
	lab.Must(t, err)
	self, err := os.Executable()
	lab.Must(t, err)
	runtime := filepath.Join(dir, lesser)
	lab.Must(t, os.Symlink(self, runtime))
	e, err := scratch.Start(t.Context(), scratch.Options{Dir: filepath.Join(dir, "e"), Runtime: runtime})
	lab.Must(t, err)
	t.Cleanup(func() {
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	s := site{e}
	load := exec.Command("sh", "-c", `tar -C "$1" -c . | docker -H "$2" import - host:latest`, "sh", tree(t), e.Host())
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("load the host: %v\n%s", err, out)
	}
	return s
}

func (s site) docker(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"-H", s.engine.Host()}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// host is a machine with systemd.
type host struct {
	t    *testing.T
	site site
	name string
}

// newHost starts one, with Docker and what runs there before ds01.
func (s site) newHost(t *testing.T, name string) *host {
	t.Helper()
	h := &host{t, s, name}
	s.docker(t, "run", "-d", "--name", name, "--privileged", "--runtime", "ds01", "--cgroupns", "private", "--stop-signal", "SIGRTMIN+3",
		"--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp", "-v", "/var/lib/docker", "-v", "/var/lib/containerd",
		"-v", binary+":/root/ds01:ro", "-v", mustAbs(t, "testdata")+":/root/tests:ro", "host:latest", "/sbin/init")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := h.try("journalctl -n 60 --no-pager -u docker -u docker.socket -u ds01; docker ps -a; ls -la /run/ds01 /run/docker.sock /var/lib/ds01/install")
			t.Logf("the host's journal:\n%s", out)
		}
		s.docker(t, "rm", "-fv", name)
	})
	h.sh("/root/tests/prepare")
	return h
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	lab.Must(t, err)
	return abs
}

// try runs a script on the host, as its root.
func (h *host) try(script string) (string, error) {
	out, err := exec.Command("docker", "-H", h.site.engine.Host(), "exec", h.name, "bash", "-c", script).CombinedOutput()
	return string(out), err
}

// sh runs a script that must not fail.
func (h *host) sh(script string) string {
	h.t.Helper()
	out, err := h.try(script)
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", script, err, tail(out))
	}
	return strings.TrimSpace(out)
}

// etc returns everything in /etc.
func (h *host) etc() []string {
	h.t.Helper()
	return strings.Split(h.sh("/root/tests/etc"), "\n")
}

// running returns the processes of the two containers from before, at an
// engine's socket.
func (h *host) running(socket string) string {
	h.t.Helper()
	return h.sh("docker -H unix://" + socket + " inspect -f '{{.Name}} {{.State.Running}} {{.State.Pid}}' old trained")
}

// reboot ends everything on the host and starts it again.
func (h *host) reboot() {
	h.t.Helper()
	h.site.docker(h.t, "restart", "-t", "30", h.name)
	until := time.Now().Add(2 * time.Minute)
	for {
		out, err := h.try("systemctl is-system-running --wait")
		if strings.TrimSpace(out) == "running" {
			return
		}
		if time.Now().After(until) {
			failed, _ := h.try("systemctl --failed --no-pager; systemctl list-jobs --no-pager")
			h.t.Fatalf("the host doesn't come up: %v %s\n%s", err, out, failed)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
