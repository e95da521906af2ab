package probe

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/safety"
)

// program lays a program that can be executed, and returns its path.
func program(t *testing.T, path, from string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhoStartsTheStepsOfBuilds(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "steps"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "steps/runc")); err != nil {
		t.Fatal(err)
	}
	program(t, filepath.Join(dir, "copy/runc"), self)
	program(t, filepath.Join(dir, "sbin/runc"), "/bin/true")
	os.Chmod(program(t, filepath.Join(dir, "flat/runc"), "/bin/true"), 0o644)
	os.MkdirAll(filepath.Join(dir, "deep/runc"), 0o755)
	in := func(folders ...string) string {
		for i, f := range folders {
			folders[i] = filepath.Join(dir, f)
		}
		return "PATH=" + strings.Join(folders, ":")
	}
	for name, c := range map[string]struct {
		environ []string
		runc    string
		starter safety.Starter
	}{
		"ds01 leads":                          {[]string{"A=B", in("steps", "sbin")}, "steps/runc", safety.ThisDs01},
		"ds01 comes second":                   {[]string{in("sbin", "steps")}, "sbin/runc", safety.Stranger},
		"a copy of ds01 leads":                {[]string{in("copy", "steps")}, "copy/runc", safety.OtherDs01},
		"what can't be executed is passed by": {[]string{in("flat", "deep", "none", "steps")}, "steps/runc", safety.ThisDs01},
		"no runc":                             {[]string{in("none")}, "", safety.Stranger},
		"no PATH":                             {nil, "", safety.Stranger},
		"another program is asked for":        {[]string{in("steps"), "DOCKER_BUILDKIT_RUNC_COMMAND=" + dir + "/sbin/runc"}, "sbin/runc", safety.Stranger},
	} {
		want := c.runc
		if want != "" {
			want = filepath.Join(dir, want)
		}
		got := firstRunc(c.environ)
		if s := starter(got); got != want || s != c.starter {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, s, want, c.starter)
		}
	}
}

func TestAnEngineWithoutFirewallRulesIsSeen(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		f, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		io.WriteString(f, text)
		return f.Name()
	}
	for words, want := range map[string]bool{
		"dockerd --iptables=false":                                      true,
		"dockerd --iptables=0":                                          true,
		"dockerd --iptables=true":                                       false,
		"dockerd --ip6tables=false --config-file=" + file("{}"):         false,
		"dockerd --config-file=" + file(`{"iptables": false}`):          true,
		"dockerd --config-file " + file(`{"iptables": false}`):          true,
		"dockerd --config-file " + file(`{"iptables": true, "icc": 7}`): false,
		"dockerd --config-file " + filepath.Join(dir, "none"):           false,
	} {
		if got := !settingsOf(strings.Fields(words)).IPTables; got != want {
			t.Errorf("%s: %v", words, got)
		}
	}
}

func TestWhatDockerdIsToldOfBuildsAndGroups(t *testing.T) {
	file := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(file, []byte(`{"builder": {"gc": {"enabled": true, "defaultKeepStorage": "20GB"}}, "default-cgroupns-mode": "private"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := settingsOf([]string{"dockerd", "--config-file", file})
	if s.Builder.GC.Enabled == nil || !*s.Builder.GC.Enabled || s.Builder.GC.Keep != "20GB" || s.CgroupNS != "private" || !s.IPTables {
		t.Errorf("read as %+v", s)
	}
	s = settingsOf([]string{"dockerd", "--config-file", os.DevNull, "--default-cgroupns-mode=host"})
	if s.Builder.GC.Enabled != nil || s.CgroupNS != "host" {
		t.Errorf("without a file: %+v", s)
	}
}

// TestDockerdIsFoundBehindItsSocket has a program called dockerd listen, and one
// for which somebody else does, as systemd does for docker.socket.
func TestDockerdIsFoundBehindItsSocket(t *testing.T) {
	dir := folder(t)
	sleeper := program(t, filepath.Join(dir, "dockerd"), "/bin/sleep")
	cmd := exec.Command(sleeper, "1000")
	cmd.Env = []string{"PATH=" + dir}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	socket := filepath.Join(dir, "engine.sock")
	if got := Dockerd(t.Context(), socket, dir); got != nil {
		t.Errorf("nobody listens: %+v", got)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := listener(t.Context(), socket); got != os.Getpid() {
		t.Errorf("%d listens", got)
	}
	if got := Dockerd(t.Context(), socket, dir); got != nil {
		t.Errorf("a test listens: %+v", got)
	}
	pid := filepath.Join(dir, "docker.pid")
	for number, found := range map[string]bool{strconv.Itoa(os.Getpid()): false, "": false, "../" + strconv.Itoa(cmd.Process.Pid): false, strconv.Itoa(cmd.Process.Pid) + "\n": true} {
		os.WriteFile(pid, []byte(number), 0o600)
		if got := Dockerd(t.Context(), socket, dir); (got != nil) != found {
			t.Errorf("docker.pid holds %q: %+v", number, got)
		}
	}
}
