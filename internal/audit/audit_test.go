package audit_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/audit"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
)

func options() audit.Options {
	return audit.Options{MaxSize: 1 << 30, Keep: 10, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
}

func done(object string) event.Event {
	return event.Event{Time: time.Now(), Door: event.Gateway, Decision: event.Allowed, Action: "container start", Object: object}
}

// write appends n events.
func write(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	for i := range n {
		if _, err := l.Append(done(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t testing.TB, path string) event.Report {
	t.Helper()
	files, err := audit.Files(path)
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	report := event.Verify(audit.Lines(files, &failed))
	if failed != nil {
		t.Fatal(failed)
	}
	return report
}

// wantWhole wants an unbroken chain of n lines.
func wantWhole(t testing.TB, path string, n int) {
	t.Helper()
	report := verify(t, path)
	if report.Bad != nil {
		t.Fatalf("%+v", *report.Bad)
	}
	if report.Torn != nil || report.Lines != n || report.First.Seq != 1 || report.Last.Seq != uint64(n) {
		t.Fatalf("%+v, want %d lines", report, n)
	}
}

func shut(t testing.TB, l *audit.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestAChainGoesOnAcrossDaemons(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "audit.jsonl")
	for range 3 {
		l := audit.Open(path, options())
		write(t, l, 5)
		shut(t, l)
	}
	wantWhole(t, path, 15)
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestManyAtOnceMakeOneChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	o := options()
	o.MaxSize, o.Keep = 4<<10, 1000 // rotation all the time
	l := audit.Open(path, o)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() { write(t, l, 100) })
	}
	writers.Wait()
	shut(t, l)
	wantWhole(t, path, 800)
}

func TestFullFilesAreMovedAsideAndTheOldestGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	o := options()
	o.MaxSize, o.Keep = 1<<10, 3
	l := audit.Open(path, o)
	write(t, l, 100)
	files, err := audit.Files(path)
	if err != nil || len(files) != 4 || files[0] != path+".3" || files[3] != path {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > o.MaxSize || info.Size() == 0 {
			t.Errorf("%s has %d bytes, %v", f, info.Size(), err)
		}
	}
	if report := verify(t, path); report.Bad != nil || report.Last.Seq != 100 || report.First.Seq <= 1 {
		t.Errorf("%+v", report)
	}
	l.Limit(1<<10, 1)
	write(t, l, 20)
	if files, _ := audit.Files(path); len(files) != 2 {
		t.Errorf("one is to be kept: %v", files)
	}
	shut(t, l)
}

func TestAChainGoesOnBehindALogrotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := audit.Open(path, options())
	write(t, l, 3)
	os.Rename(path, path+"-20300517")
	write(t, l, 2) // until it is told, it writes on in the old file
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, l, 3)
	if err := l.Reopen(); err != nil { // nothing has moved
		t.Fatal(err)
	}
	shut(t, l)
	wantWhole(t, path, 8)

	// The next one is moved and compressed while no daemon runs.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(text)
	w.Close()
	os.WriteFile(path+"-20300518.gz", zipped.Bytes(), 0o600)
	os.Remove(path)
	l = audit.Open(path, options())
	write(t, l, 2)
	shut(t, l)
	wantWhole(t, path, 10)
}

func TestADeletedLogGoesOnInANewFile(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "log")
	path := filepath.Join(folder, "audit.jsonl")
	l := audit.Open(path, options())
	write(t, l, 3)
	os.RemoveAll(folder)
	write(t, l, 2)
	shut(t, l)
	if report := verify(t, path); report.Bad != nil || report.First.Seq != 4 || report.Last.Seq != 5 {
		t.Errorf("%+v", report)
	}
}

func TestWhatACrashLeavesIsTakenUp(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(text string) string
		lines  int
		torn   bool
	}{
		"half a line":               {func(s string) string { return s + `{"seq":6,"time":"20` }, 7, true},
		"the last line, cut":        {func(s string) string { return s[:len(s)-30] }, 6, true},
		"all but the line break":    {func(s string) string { return s[:len(s)-1] }, 6, false},
		"zeros of a lost block":     {func(s string) string { return s + strings.Repeat("\x00", 4096) }, 7, true},
		"half of the only line":     {func(s string) string { return s[:20] }, 2, true},
		"an empty file, no crash":   {func(string) string { return "" }, 1, false},
		"nothing, it ended cleanly": {func(s string) string { return s }, 6, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			l := audit.Open(path, options())
			write(t, l, 5)
			shut(t, l)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(path, []byte(c.damage(string(text))), 0o600)
			l = audit.Open(path, options())
			write(t, l, 1)
			shut(t, l)
			wantWhole(t, path, c.lines)
			after, _ := os.ReadFile(path)
			if got := strings.Contains(string(after), `"audit repair"`); got != c.torn {
				t.Errorf("the log says so: %t\n%s", got, after)
			}
			if aside, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "torn-*")); (len(aside) == 1) != c.torn {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
}

func TestACrashInTheMiddleOfARotationIsTakenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := audit.Open(path, options())
	write(t, l, 5)
	shut(t, l)
	os.Rename(path, path+".1")
	l = audit.Open(path, options())
	write(t, l, 1)
	shut(t, l)
	wantWhole(t, path, 6)
}

func TestALogThatCantBeWrittenSaysSoAndComesBack(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log", "audit.jsonl")
	os.WriteFile(filepath.Join(dir, "log"), nil, 0o600) // a file stands where the folder goes
	l := audit.Open(path, options())
	if _, err := l.Append(done("a")); !errors.Is(err, problem.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if err := l.Ready(); !errors.Is(err, problem.ErrUnavailable) || l.Problem() == "" {
		t.Errorf("got %v, %q", err, l.Problem())
	}
	os.Remove(filepath.Join(dir, "log"))
	if err := l.Ready(); err != nil || l.Problem() != "" {
		t.Errorf("got %v, %q", err, l.Problem())
	}
	write(t, l, 1)
	shut(t, l)
	wantWhole(t, path, 2) // what was missed is said
	if text, _ := os.ReadFile(path); !strings.Contains(string(text), `"action":"audit resume"`) || !strings.Contains(string(text), `"times":1`) {
		t.Errorf("%s", text)
	}
	if err := l.Ready(); err != nil {
		t.Errorf("nobody has tried yet: %v", err)
	}
	if _, err := l.Append(done("late")); err == nil {
		t.Error("a closed log took an event")
	}
}

func TestSelectReadsBackwards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	o := options()
	o.MaxSize, o.Keep = 1<<10, 100
	l := audit.Open(path, o)
	write(t, l, 50)
	all := func(event.Event) bool { return true }
	for name, c := range map[string]struct {
		since time.Time
		limit int
		match func(event.Event) bool
		want  []uint64 // first, last
	}{
		"everything":    {time.Time{}, 100, all, []uint64{1, 50}},
		"the last five": {time.Time{}, 5, all, []uint64{46, 50}},
		"one":           {time.Time{}, 5, func(e event.Event) bool { return e.Object == "7" }, []uint64{8, 8}},
		"none so late":  {time.Now().Add(time.Hour), 5, all, nil},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := l.Select(c.since, c.limit, c.match)
			switch {
			case err != nil:
				t.Error(err)
			case len(found) == 0 != (c.want == nil):
				t.Errorf("%d events", len(found))
			case c.want != nil && (found[0].Seq != c.want[0] || found[len(found)-1].Seq != c.want[1]):
				t.Errorf("%d to %d", found[0].Seq, found[len(found)-1].Seq)
			}
		})
	}
	shut(t, l)
}

// moving returns a log of five files, and what moves each of them on.
func moving(t *testing.T) (l *audit.Log, path string, move func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.jsonl")
	o := options()
	o.MaxSize, o.Keep = 1<<10, 4
	l = audit.Open(path, o)
	t.Cleanup(func() { shut(t, l) })
	write(t, l, 50)
	return l, path, func() {
		t.Helper()
		newest, err := os.Stat(path)
		for now := newest; err == nil && os.SameFile(newest, now); {
			write(t, l, 1)
			now, err = os.Stat(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestALogThatIsMovedAsideWhileItIsReadIsWhole(t *testing.T) {
	_, path, move := moving(t)
	tries := 0
	var report event.Report
	err := audit.Unmoved(func() ([]string, error) { return audit.Files(path) }, func(files []string) error {
		tries++
		var failed error
		report = event.Verify(func(yield func(event.Line) bool) {
			for line := range audit.Lines(files, &failed) {
				if tries == 1 && line.File == files[1] && line.Number == 1 {
					move()
				}
				if !yield(line) {
					return
				}
			}
		})
		return failed
	})
	if err != nil || report.Bad != nil || report.Torn != nil || tries != 2 {
		t.Errorf("after %d tries: %v, %+v", tries, err, report)
	}
}

func TestSelectReadsALogThatIsMovedAside(t *testing.T) {
	l, _, move := moving(t)
	move = sync.OnceFunc(move)
	found, err := l.Select(time.Time{}, 100, func(event.Event) bool { move(); return true })
	if err != nil || len(found) < 10 {
		t.Fatalf("%d events, %v", len(found), err)
	}
	for i, e := range found {
		if e.Seq != found[0].Seq+uint64(i) {
			t.Fatalf("number %d comes after %d others, the first of which is %d", e.Seq, i, found[0].Seq)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	l := audit.Open(filepath.Join(b.TempDir(), "audit.jsonl"), options())
	e := done("web")
	e.User, e.UID, e.Exe, e.Route, e.Image, e.Mounts = "alice", 1001, "/usr/bin/docker", "POST /containers/create", "busybox", []string{"/home/alice/w"}
	for b.Loop() {
		if _, err := l.Append(e); err != nil {
			b.Fatal(err)
		}
	}
	shut(b, l)
}

// TestFilesAreListedWhileTheyAreMovedAside: a name that was listed may be gone
// when it is opened.
func TestFilesAreListedWhileTheyAreMovedAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for _, name := range []string{path, path + ".new"} {
		if err := os.WriteFile(name, []byte("{\"seq\":1}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	end, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-end:
				return
			default:
				_ = os.Rename(path+".new", path+".1")
				_ = os.Rename(path+".1", path+".new")
				time.Sleep(50 * time.Microsecond)
			}
		}
	}()
	for range 300 {
		if _, err := audit.Files(path); errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
			break
		}
	}
	close(end)
	<-over
}
