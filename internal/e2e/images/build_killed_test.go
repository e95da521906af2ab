package images_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// A buildStage is where a build is when it is killed.
type buildStage struct {
	name string
	// reached reports whether it is there, by what the client has said so far.
	reached  func(l *lab.Lab, said string) bool
	finishes bool   // the engine may be about to be done
	dir      string // what is built
	// holds keeps a client there until letGo; nil: it goes on.
	holds func(t *testing.T, client *exec.Cmd) (reached func() bool, letGo func())
}

// sent is how much of a context has been sent when a client is held: more than
// what lies between it and the engine.
const sent = 8 << 20

// unended gives a client the beginning of a context.
func unended(t *testing.T, client *exec.Cmd) (reached func() bool, letGo func()) {
	t.Helper()
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		text, context := "FROM busybox\nCOPY . /\n", tar.NewWriter(in)
		err := context.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: int64(len(text))})
		if err == nil {
			_, err = context.Write([]byte(text))
		}
		if err == nil {
			err = context.WriteHeader(&tar.Header{Name: "large", Mode: 0o644, Size: 2 * sent})
		}
		if err == nil {
			_, err = context.Write(make([]byte, sent))
		}
		done <- err
	}()
	reached = func() bool {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return true
		default:
			return false
		}
	}
	return reached, func() { _ = in.Close() } // nobody reads it any more
}

// leased keeps whoever opens a file waiting until a lease on it ends, see fcntl(2).
// The kernel ends it 45 s after that by itself.
func leased(t *testing.T, name string) (reached func() bool, letGo func()) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	reached = func() bool {
		now, err := unix.FcntlInt(file.Fd(), unix.F_GETLEASE, 0)
		return err == nil && now != unix.F_WRLCK // it is to be given up
	}
	return reached, func() { _ = file.Close() } // nothing was written
}

// TestKilledBuilds: whoever is killed, and wherever the build is then, nothing
// of it is left: no process, container, group or file, and no image of its name.
func TestKilledBuilds(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}})
	steps := contextOf(t, l, "alice", recipe("FROM busybox", "RUN head -c 60000000 /dev/urandom > /made"))
	files := contextOf(t, l, "alice", recipe("FROM busybox", "COPY . /"))
	last := filepath.Join(files, "last")
	large(t, filepath.Join(files, "first"), sent)
	large(t, last, 1)
	s := shelf{l, l.StartRegistry()}
	s.stock()
	absent := contextOf(t, l, "alice", recipe("FROM "+s.first()))
	pulling := buildStage{"while its base is pulled", func(*lab.Lab, string) bool { return s.registry.HeldUp() > 0 }, false, absent, nil}
	before, builds := leftovers(t, l), 0
	for kit, stages := range map[string][]buildStage{
		"0": {
			{"while the context is sent", nil, false, "-", unended},
			pulling,
			{"while a layer is kept", func(l *lab.Lab, _ string) bool {
				return l.AtEngine("ps", "-aq", "--filter", "status=exited") != ""
			}, true, steps, nil},
		},
		"1": {
			{"while the context is sent", nil, false, files, func(t *testing.T, _ *exec.Cmd) (func() bool, func()) { return leased(t, last) }},
			pulling,
			{"while it is exported", func(_ *lab.Lab, said string) bool { return strings.Contains(said, "exporting") }, true, steps, nil},
		},
	} {
		for _, stage := range stages {
			for _, who := range []string{"the client", "the daemon"} {
				t.Run("DOCKER_BUILDKIT="+kit+", "+stage.name+", "+who, func(t *testing.T) {
					defer s.registry.HoldUp()()
					// BuildKit is sent what is newer
					if err := os.Chtimes(last, time.Now(), time.Now()); err != nil {
						t.Fatal(err)
					}
					builds++
					name := fmt.Sprintf("killed-%d", builds) // what one leaves to the engine comes late
					for tries := 1; !killBuild(t, l, kit, stage, name, who == "the daemon"); tries++ {
						if tries == 20 {
							t.Fatal("each build was over first")
						}
					}
					l.Eventually("nothing is left", time.Minute, func() bool { return leftovers(t, l) == before })
					// what the engine has finished by itself meanwhile is hers
					if got := l.OK("alice", lab.Debian, "images", "-q", name); got != "" {
						if !stage.finishes {
							t.Errorf("the image is there: %s", got)
						}
						l.OK("alice", lab.Debian, "rmi", name)
					}
				})
			}
		}
	}
}

// killBuild begins a build and kills it, or ds01, once it has come so far. It reports
// whether the build was still under way.
func killBuild(t *testing.T, l *lab.Lab, kit string, s buildStage, name string, daemon bool) bool {
	t.Helper()
	var said lines
	cmd := l.Command("alice", "env", "DOCKER_BUILDKIT="+kit, lab.Debian, "build", "--no-cache", "-t", name, s.dir)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr.Setpgid = true
	reached, letGo := func() bool { return s.reached(l, said.String()) }, func() {}
	if s.holds != nil {
		reached, letGo = s.holds(t, cmd)
	}
	defer letGo()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := false
	for began := time.Now(); !over && !reached(); time.Sleep(5 * time.Millisecond) {
		if over = strings.Contains(said.String(), "Successfully built"); over && !s.finishes || time.Since(began) > time.Minute {
			t.Fatalf("never %s: %s", s.name, said.String())
		}
	}
	if daemon {
		l.EndDaemon(syscall.SIGKILL)
		defer l.StartDaemon()
	} else if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	letGo()
	if err := cmd.Wait(); err == nil && !s.finishes {
		t.Errorf("it ended well: %s", said.String())
	} else if err == nil {
		over = true
	}
	return !over
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
