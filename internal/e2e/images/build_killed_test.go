package images_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// A buildStage is where a build is when it is killed.
type buildStage struct {
	name string
	// reached reports whether it is there, by what the client has said so far.
	reached  func(l *lab.Lab, said string) bool
	finishes bool   // the engine may be about to be done
	dir      string // what is built
}

// sending is what BuildKit's client says while files are sent; of those beside
// the context it says bytes.
var sending = regexp.MustCompile(`transferring context: [0-9.]+MB`)

// TestKilledBuilds: whoever is killed, and wherever the build is then, nothing
// of it is left: no process, container, group or file, and no image of its name.
func TestKilledBuilds(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}})
	steps := contextOf(t, l, "alice", recipe("FROM busybox", "RUN head -c 60000000 /dev/urandom > /made"))
	files := contextOf(t, l, "alice", recipe("FROM busybox", "COPY . /"))
	large(t, filepath.Join(files, "large"), 1<<30) // sent whole long after the kill, on a busy machine too
	s := shelf{l, l.StartRegistry()}
	s.stock()
	absent := contextOf(t, l, "alice", recipe("FROM "+s.first()))
	pulling := buildStage{"while its base is pulled", func(*lab.Lab, string) bool { return s.registry.HeldUp() > 0 }, false, absent}
	before := leftovers(t, l)
	for kit, stages := range map[string][]buildStage{
		"0": {
			{"while the context is sent", func(_ *lab.Lab, said string) bool { return strings.Contains(said, "Sending build context") }, false, files},
			pulling,
			{"while a layer is kept", func(l *lab.Lab, _ string) bool {
				return l.AtEngine("ps", "-aq", "--filter", "status=exited") != ""
			}, true, steps},
		},
		"1": {
			{"while the context is sent", func(_ *lab.Lab, said string) bool { return sending.MatchString(said) }, false, files},
			pulling,
			{"while it is exported", func(_ *lab.Lab, said string) bool { return strings.Contains(said, "exporting") }, true, steps},
		},
	} {
		for _, stage := range stages {
			for _, who := range []string{"the client", "the daemon"} {
				t.Run("DOCKER_BUILDKIT="+kit+", "+stage.name+", "+who, func(t *testing.T) {
					defer s.registry.HoldUp()()
					// BuildKit is sent what is newer
					if err := os.Chtimes(filepath.Join(files, "large"), time.Now(), time.Now()); err != nil {
						t.Fatal(err)
					}
					killBuild(t, l, kit, stage, who == "the daemon")
					l.Eventually("nothing is left", 20*time.Second, func() bool { return leftovers(t, l) == before })
					// what the engine has finished by itself meanwhile is hers
					if got := l.OK("alice", lab.Debian, "images", "-q", "killed"); got != "" {
						if !stage.finishes {
							t.Errorf("the image is there: %s", got)
						}
						l.OK("alice", lab.Debian, "rmi", "killed")
					}
				})
			}
		}
	}
}

// killBuild begins a build and kills it, or ds01, once it has come so far.
func killBuild(t *testing.T, l *lab.Lab, kit string, s buildStage, daemon bool) {
	t.Helper()
	var said lines
	cmd := l.Command("alice", "env", "DOCKER_BUILDKIT="+kit, lab.Debian, "build", "--no-cache", "-t", "killed", s.dir)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !s.reached(l, said.String()); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 30*time.Second || strings.Contains(said.String(), "Successfully built") {
			t.Fatalf("never %s: %s", s.name, said.String())
		}
	}
	if daemon {
		l.EndDaemon(syscall.SIGKILL)
		defer l.StartDaemon()
	} else if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("it ended well: %s", said.String())
	}
}

// lines is what a program has said so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// leftovers is what builds may leave: containers, groups in the person's, mounts,
// and temporary files of the engine's and of ds01's.
func leftovers(t *testing.T, l *lab.Lab) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	of := 0
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, l.Root) {
			of++
		}
	}
	data := l.AtEngine("info", "-f", "{{.DockerRootDir}}")
	temporary := globs(t, filepath.Join(data, "tmp", "*"))
	own := globs(t, filepath.Join(l.Root, "tmp", "*"))
	groups := globs(t, "/sys/fs/cgroup/*"+l.Engine.CgroupParent()+"/people/u"+strconv.Itoa(l.UID("alice"))+"/*/cgroup.procs")
	left := append([]string{"containers " + l.AtEngine("ps", "-aq"), "mounts " + strconv.Itoa(of)}, temporary...)
	return strings.Join(append(append(left, own...), groups...), "\n")
}

// large writes a file of zeros.
func large(t *testing.T, name string, size int64) {
	t.Helper()
	if out, err := exec.Command("truncate", "-s", strconv.FormatInt(size, 10), name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
}
