package crash_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// plainLimits are the limits that the tests of bad input begin with.
const plainLimits = `default_group: student
groups: {student: {max_mig_instances: 1}}
`

// refusedStart starts a daemon that must not come up, and checks its exit code
// and that its last words are what, why and what next, with these words in
// them.
func refusedStart(t *testing.T, l *lab.Lab, code int, words ...string) {
	t.Helper()
	before := 0
	if info, err := os.Stat(filepath.Join(l.Root, "daemon.log")); err == nil {
		before = int(info.Size())
	}
	l.Spawn()
	if got := l.Exited(); got != code {
		t.Errorf("exit code %d, not %d", got, code)
	}
	said := l.Log()[before:]
	_, last, found := strings.Cut(said, "Error: ")
	lines := strings.Split(strings.TrimSpace(last), "\n")
	if !found || len(lines) != 3 || strings.HasPrefix(lines[0], " ") || !strings.HasPrefix(lines[1], "  ") || !strings.HasPrefix(lines[2], "  ") {
		t.Errorf("its last words are not three lines:\n%s", said)
	}
	for _, word := range words {
		if !strings.Contains(last, word) {
			t.Errorf("its last words don't say %q:\n%s", word, last)
		}
	}
}

// furnished is a lab with a running container with a device, and the daemon
// stopped.
func furnished(t *testing.T) *lab.Lab {
	t.Helper()
	l := start(t, lab.Options{Limits: plainLimits})
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	l.EndDaemon(syscall.SIGTERM)
	return l
}

// nothingLost starts the daemon again and checks that alice's container is
// hers with its device.
func nothingLost(t *testing.T, l *lab.Lab) {
	t.Helper()
	l.StartDaemon()
	lab.Settled(t, l, 10*time.Second)
	all := l.Containers()
	if len(all) != 1 || all[0].Name != "web" || all[0].ClaimState != "running" || len(all[0].GPUs) != 1 {
		t.Errorf("what is left: %+v", all)
	}
	l.EndDaemon(syscall.SIGTERM)
}

func TestADaemonWithABadFileSaysWhereAndEndsWithCodeTwo(t *testing.T) {
	l := furnished(t)
	const conf, limits = "etc/ds01/ds01.yaml", "etc/ds01/resource-limits.yaml"
	good := read(t, l, conf) // five lines
	for name, bad := range map[string]struct {
		file, text string
		words      []string
	}{
		"broken YAML in the configuration": {conf, "version: 1\ngpu: {provider: sim\n", []string{conf, "line "}},
		"an unknown key there":             {conf, good + "colour: red\n", []string{conf, "line 6", `"colour"`}},
		"a repeated key there":             {conf, good + "images: {default: x}\n", []string{conf, "line 6", "images"}},
		"no version":                       {conf, strings.Replace(good, "version: 1\n", "", 1), []string{conf, "version"}},
		"an unknown provider":              {conf, "version: 1\ngpu: {provider: amd}\n", []string{"gpu.provider", `"amd"`, "nvml", "sim"}},
		"an unknown model":                 {conf, "version: 1\ngpu: {provider: sim, sim: {gpus: [voodoo2]}}\n", []string{`"voodoo2"`, "a100-80gb"}},
		"a MIG layout that doesn't fit":    {conf, "version: 1\ngpu: {provider: sim, sim: {gpus: [a100-80gb], mig: {0: [7g.80gb, 1g.10gb]}}}\n", []string{"card 0"}},
		"a relative socket":                {conf, "version: 1\ngateway: {listen: 'unix://docker.sock'}\n", []string{"gateway.listen"}},
		"an empty file":                    {conf, "", []string{conf, "version: 1"}},
		"binary rubbish":                   {conf, "\x00\xff\xfe\x01", []string{conf}},
		"broken YAML in the limits":        {limits, "defaults: {memory: 1g\n", []string{"resource-limits.yaml:"}},
		"an unknown limit":                 {limits, "defaults:\n  memroy: 1g\n", []string{"resource-limits.yaml:2", "memroy"}},
		"a repeated limit":                 {limits, "defaults:\n  memory: 1g\n  memory: 2g\n", []string{"resource-limits.yaml:3", "memory"}},
		"a missing unit":                   {limits, "defaults:\n  memory: 32\n", []string{"resource-limits.yaml:2", "memory", "unit"}},
		"a missing unit of a time":         {limits, "defaults:\n  max_runtime: 0\n", []string{"resource-limits.yaml:2", "max_runtime", "unit"}},
		"an unknown group":                 {limits, "default_group: wizards\n", []string{"resource-limits.yaml:1", "wizards"}},
		"a negative count":                 {limits, "defaults:\n  max_mig_instances: -1\n", []string{"resource-limits.yaml:2", "max_mig_instances"}},
		"a members file that isn't text":   {"etc/ds01/groups/student.members", "al\x00ice\n", []string{"student.members:1"}},
		"two errors at once":               {limits, "defaults:\n  memory: 32\n  cpus: 4\n", []string{"resource-limits.yaml:2", "resource-limits.yaml:3"}},
	} {
		t.Run(name, func(t *testing.T) {
			os.MkdirAll(filepath.Join(l.Root, "etc/ds01/groups"), 0o755)
			before, err := os.ReadFile(filepath.Join(l.Root, bad.file))
			l.Write(bad.file, bad.text)
			refusedStart(t, l, 2, bad.words...)
			if l.Write(bad.file, string(before)); err != nil {
				os.Remove(filepath.Join(l.Root, bad.file))
			}
		})
	}
	nothingLost(t, l)
}

func read(t *testing.T, l *lab.Lab, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.Root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestADaemonWhoseDatabaseCannotBeUsedLeavesItAlone(t *testing.T) {
	l := furnished(t)
	db := filepath.Join(l.Root, "var/lib/ds01/ds01.db")
	whole := read(t, l, "var/lib/ds01/ds01.db")
	unusable := []string{"database " + db + " can't be used", "Nothing was changed"}
	t.Run("a corrupt header", func(t *testing.T) { refusedDatabase(t, l, "rubbish"+whole[7:], unusable) })
	t.Run("a page overwritten", func(t *testing.T) {
		refusedDatabase(t, l, whole[:4096]+strings.Repeat("\xee", 4096)+whole[8192:], unusable)
	})
	t.Run("cut short", func(t *testing.T) { refusedDatabase(t, l, whole[:len(whole)/2], unusable) })
	t.Run("of a newer ds01", func(t *testing.T) {
		newer := []byte(whole)
		newer[63] = 99 // user_version
		refusedDatabase(t, l, string(newer), append(unusable, "newer"))
	})
	l.Write("var/lib/ds01/ds01.db", whole)
	t.Run("read-only", func(t *testing.T) {
		folder := filepath.Dir(db)
		mountFlags(t, folder, unix.MS_BIND)
		mountFlags(t, folder, unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY)
		refusedStart(t, l, 7, "read-only")
		unix.Unmount(folder, 0)
	})
	t.Run("only the file read-only", func(t *testing.T) {
		mountFlags(t, db, unix.MS_BIND)
		mountFlags(t, db, unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY)
		refusedStart(t, l, 7, unusable...)
		unix.Unmount(db, 0)
	})
	nothingLost(t, l)
}

// refusedDatabase checks that a daemon doesn't come up with this database, and
// leaves every byte of it.
func refusedDatabase(t *testing.T, l *lab.Lab, content string, words []string) {
	t.Helper()
	for _, name := range []string{"ds01.db-wal", "ds01.db-shm"} {
		os.Remove(filepath.Join(l.Root, "var/lib/ds01", name))
	}
	l.Write("var/lib/ds01/ds01.db", content)
	refusedStart(t, l, 7, words...)
	if read(t, l, "var/lib/ds01/ds01.db") != content {
		t.Error("the database was changed")
	}
}

func mountFlags(t *testing.T, path string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(path, path, "", flags, ""); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskGrantsNothingAndLosesNothing(t *testing.T) {
	l := start(t, lab.Options{Limits: plainLimits, NoStart: true})
	folder := filepath.Join(l.Root, "var/lib/ds01")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	fill(t, folder)
	refusedStart(t, l, 7, "database", "can't be used", "full")
	drain(t, folder)
	l.StartDaemon()
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	fill(t, folder)
	r := l.Docker("bob", "run", "-d", "--gpus", "1", "busybox", "sleep", "1000")
	if r.Code == 0 || !strings.Contains(r.Err, "Claim not stored") || !strings.Contains(r.Err, "Nothing was granted") {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
	if got := l.OK("alice", "docker", "ps", "--format", "{{.Names}}"); got != "web" {
		t.Errorf("alice sees %q", got)
	}
	drain(t, folder)
	l.OK("bob", "docker", "run", "-d", "--name", "api", "--gpus", "1", "busybox", "sleep", "1000")
	lab.Settled(t, l, 10*time.Second)
	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	lab.Settled(t, l, 10*time.Second)
	l.OK("alice", "docker", "rm", "-f", "web")
	l.OK("bob", "docker", "rm", "-f", "api")
	lab.Clean(t, l)
	l.EndDaemon(syscall.SIGTERM)
	unix.Unmount(folder, 0)
}

// fill writes a file system full.
func fill(t *testing.T, folder string) {
	t.Helper()
	f, err := os.Create(filepath.Join(folder, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
}

func drain(t *testing.T, folder string) {
	t.Helper()
	if err := os.Remove(filepath.Join(folder, "fill")); err != nil {
		t.Fatal(err)
	}
}

func TestASocketPathInUseIsLeftToItsUser(t *testing.T) {
	l := furnished(t)
	for _, name := range []string{"run/docker.sock", "run/ds01/ds01.sock"} {
		path := filepath.Join(l.Root, name)
		t.Run("by a live process: "+name, func(t *testing.T) {
			os.Remove(path)
			other, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			refusedStart(t, l, 6, path, "another process listens there")
			if _, err := os.Lstat(path); err != nil {
				t.Error("its socket was taken away")
			}
		})
		t.Run("by a file: "+name, func(t *testing.T) {
			os.Remove(path)
			l.Write(name, "precious")
			refusedStart(t, l, 6, path, "no socket")
			if read(t, l, name) != "precious" {
				t.Error("the file was changed")
			}
			os.Remove(path)
		})
		t.Run("by the socket of a dead process: "+name, func(t *testing.T) {
			stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			stale.SetUnlinkOnClose(false)
			stale.Close()
			nothingLost(t, l)
		})
	}
}

func TestASecondDaemonOnTheSameRootEndsAndDisturbsNobody(t *testing.T) {
	l := start(t, lab.Options{Limits: plainLimits})
	out, err := exec.Command(binary, "daemon", "--root", l.Root).CombinedOutput()
	if code := exitCode(err); code != 6 || !strings.Contains(string(out), "another ds01 daemon holds") {
		t.Errorf("exit code %d: %s", code, out)
	}
	l.OK("alice", "docker", "run", "--rm", "--gpus", "1", "busybox", "true")
	out, err = exec.Command(binary, "daemon", "--root", "/proc/nowhere").CombinedOutput()
	if code := exitCode(err); code != 7 || strings.Count(string(out), "\n") != 3 {
		t.Errorf("a root that can't be: exit code %d: %s", code, out)
	}
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // nobody wraps it
		return exit.ExitCode()
	}
	return 0
}

func TestWithoutADriverTheDaemonEndsInsteadOfSimulating(t *testing.T) {
	if matches, _ := filepath.Glob("/usr/lib/*/libnvidia-ml.so.1"); len(matches) > 0 {
		t.Fatalf("this test needs a host without an NVIDIA driver, here is %s", matches[0])
	}
	l := start(t, lab.Options{NoStart: true})
	l.Write("etc/ds01/ds01.yaml", strings.Replace(read(t, l, "etc/ds01/ds01.yaml"), "provider: sim", "provider: nvml", 1))
	refusedStart(t, l, 7, "GPUs not available", "libnvidia-ml.so.1 not found", "gpu.provider: sim")
}

func TestABadFileAtReloadLeavesTheLastGoodOneInForce(t *testing.T) {
	l := start(t, lab.Options{Limits: "defaults: {max_containers_per_user: 1}\n", Admins: []string{"dean"}})
	l.OK("alice", "docker", "create", "--name", "one", "busybox")
	refused := func(why string) {
		t.Helper()
		r := l.Docker("alice", "create", "--name", "two", "busybox")
		if r.Code == 0 || !strings.Contains(r.Err, "your limit is 1") {
			t.Errorf("%s: exit code %d: %s", why, r.Code, r.Err)
		}
	}
	refused("before")
	for name, bad := range map[string]string{
		"broken YAML": "defaults: {max_containers_per_user: 9\n", "an unknown key": "defaults: {max_containers: 9}\n", "an unknown group": "defaults: {max_containers_per_user: 9}\ndefault_group: wizards\n",
	} {
		l.Write("etc/ds01/resource-limits.yaml", bad)
		l.Signal(syscall.SIGHUP)
		l.Eventually("doctor says that the file isn't in force: "+name, 30*time.Second, func() bool {
			r := l.DS01("dean", "doctor")
			return strings.Contains(r.Out, "is not in force") && strings.Contains(r.Out, "resource-limits.yaml:")
		})
		refused(name)
		l.Write("etc/ds01/resource-limits.yaml", "defaults: {max_containers_per_user: 1}\n")
		l.Signal(syscall.SIGHUP)
		l.Eventually("doctor is content again", 30*time.Second, func() bool { return strings.Contains(l.DS01("dean", "doctor").Out, "on disk is in force") })
	}
	if n := strings.Count(l.Log(), "the last good one stays"); n != 3 {
		t.Errorf("the log says it %d times, not 3", n)
	}
	l.Write("etc/ds01/ds01.yaml", "version: 2\n")
	l.Signal(syscall.SIGHUP)
	l.Eventually("doctor speaks of ds01.yaml", 30*time.Second, func() bool { return strings.Contains(l.DS01("dean", "doctor").Out, "ds01.yaml") })
	refused("with a bad ds01.yaml")
	l.Write("etc/ds01/ds01.yaml", fmt.Sprintf("version: 1\ngpu: {provider: sim, sim: {gpus: [a100-80gb, a100-80gb, a100-80gb, a100-80gb]}}\ncgroup: {parent: %s/people}\nimages: {default: busybox}\n%s",
		l.Engine.CgroupParent(), groupsLine(t, l)))
	l.Write("etc/ds01/resource-limits.yaml", "defaults: {max_containers_per_user: 2}\n")
	l.Signal(syscall.SIGHUP)
	l.Eventually("a good file applies", 30*time.Second, func() bool { return l.Docker("alice", "create", "--name", "two", "busybox").Code == 0 })
}

// groupsLine returns the line of ds01.yaml that names the lab's groups.
func groupsLine(t *testing.T, l *lab.Lab) string {
	t.Helper()
	prefix := strings.TrimSuffix(l.Login("alice"), "alice")
	return fmt.Sprintf("groups: {docker: %[1]sd, gpu: %[1]sg, priority: %[1]sp, admin: %[1]sa}\n", prefix)
}
