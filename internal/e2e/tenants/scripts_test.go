package tenants_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ds01.dev/ds01/internal/e2e/lab"
)

// patience is how long a script waits for what comes by itself.
const patience = 30 * time.Second

// storyLimits are the limits that the scripts speak of; they name its lines.
const storyLimits = `defaults:
  max_mig_instances: 1
  max_gpu_share: 1
  max_containers_per_user: 2
  memory: 128m
  gpu_hold_after_stop: 10m
`

// TestScripts runs the stories of the command line, each in a lab of its own
// with alice and bob, otto, who is in no group, and ada, who administers.
//
//	as USER COMMAND…          runs a command as a person; ! wants it to fail
//	code N USER COMMAND…      wants that exit code
//	eventually USER COMMAND…  runs it until it ends well
//	typed FILE                is what the next command reads
//	engine WORD…              runs docker at the engine's own socket, past ds01
//
// A first line "# gpu: …" is the gpu section of the configuration; two whole,
// simulated A100s otherwise. The commands run in the person's home. $alice, $bob, $otto and $ada are
// their logins, $alice_home and $alice_uid their homes and numbers, $root is the
// daemon's root.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			l := start(t, lab.Options{
				Users: []string{"alice", "bob"}, Outside: []string{"otto"}, Admins: []string{"ada"}, Limits: storyLimits,
				GPU: storyGPU(t, file),
			})
			testscript.Run(t, testscript.Params{
				Files: []string{file}, RequireUniqueNames: true,
				Setup: func(e *testscript.Env) error {
					e.Setenv("root", l.Root)
					for _, who := range []string{"alice", "bob", "otto", "ada"} {
						e.Setenv(who, l.Login(who))
						e.Setenv(who+"_home", l.Home(who))
						e.Setenv(who+"_uid", strconv.Itoa(l.UID(who)))
					}
					return nil
				},
				Cmds: storyCommands(l),
			})
		})
	}
}

func storyGPU(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if gpu, ok := strings.CutPrefix(first, "# gpu: "); ok {
		return gpu
	}
	return "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb]}}"
}

func storyCommands(l *lab.Lab) map[string]func(*testscript.TestScript, bool, []string) {
	path := "PATH=" + filepath.Dir(l.Binary()) + ":" + os.Getenv("PATH")
	input := ""
	run := func(ts *testscript.TestScript, who string, words []string) int {
		r := l.Fed(who, input, append([]string{"env", path}, words...)...)
		input = ""
		ts.Stdout().Write([]byte(ended(r.Out)))
		ts.Stderr().Write([]byte(ended(r.Err)))
		return r.Code
	}
	as := func(ts *testscript.TestScript, neg bool, args []string) {
		if code := run(ts, args[0], args[1:]); (code != 0) != neg {
			ts.Fatalf("%v ended with %d", args, code)
		}
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"as":    as,
		"typed": func(ts *testscript.TestScript, _ bool, args []string) { input = ts.ReadFile(args[0]) },
		"code": func(ts *testscript.TestScript, _ bool, args []string) {
			if code := run(ts, args[1], args[2:]); strconv.Itoa(code) != args[0] {
				ts.Fatalf("%v ended with %d, want %s", args[1:], code, args[0])
			}
		},
		"eventually": func(_ *testscript.TestScript, _ bool, args []string) {
			words := append([]string{"env", path}, args[1:]...)
			l.Eventually(strings.Join(args, " "), patience, func() bool { return l.Run(args[0], words...).Code == 0 })
		},
		"engine": func(ts *testscript.TestScript, neg bool, args []string) {
			as(ts, neg, append([]string{"root", "docker", "-H", l.Engine.Host()}, args...))
		},
	}
}

// ended ends a text with a line break, so that scripts match whole lines.
func ended(text string) string {
	if text == "" {
		return ""
	}
	return text + "\n"
}

// TestEveryCommandHasAStory keeps the scripts complete: each noun and verb of
// the command line that people use on a running system is in one.
func TestEveryCommandHasAStory(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	for _, command := range []string{
		"container deploy", "container create", "container open", "container run", "container exec", "container start", "container stop", "container update", "container logs",
		"container list", "container stats", "container cp", "container rename", "container pause", "container unpause", "container prune",
		"container remove", "container retire", "container adopt", "image list", "image delete", "image share", "image unshare", "image save", "image load", "gpu list", "gpu mig plan", "gpu mig apply", "gpu mig assert", "gpu mig export", "gpu why", "gpu sim set", "user limits",
		"limits check", "limits diff", "limits show", "audit show", "audit verify", "dashboard", "doctor", "version",
	} {
		lab.Contains(t, all.String(), "ds01 "+command)
	}
}
