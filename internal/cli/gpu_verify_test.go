package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// What was tried of nodes passes only where each was tried, one's own opened and
// the kernel refused the others.
func TestWhatOpensIsJudged(t *testing.T) {
	own := map[string]bool{"/dev/nvidia0": true, "/x": false, "/y": false}
	for name, c := range map[string]struct{ out, saw, why string }{
		"all as they should be":          {"/dev/nvidia0|opened\n/x|sh: can't open /x: Operation not permitted\n/y|Operation not permitted\n", "1 opened, 2 refused", ""},
		"a simulated one has no driver":  {"/dev/nvidia0|No such device or address\n/x|Operation not permitted\n/y|Operation not permitted\n", "1 opened, 2 refused", ""},
		"another's opens":                {"/dev/nvidia0|opened\n/x|opened\n/y|Operation not permitted\n", "", "/x (its own: false): opened"},
		"another's is let through":       {"/dev/nvidia0|opened\n/x|No such device or address\n/y|Operation not permitted\n", "", "/x (its own: false)"},
		"refused by file permissions":    {"/dev/nvidia0|opened\n/x|Permission denied\n/y|Operation not permitted\n", "", "Permission denied"},
		"its own is refused":             {"/dev/nvidia0|Operation not permitted\n/x|Operation not permitted\n/y|Operation not permitted\n", "", "/dev/nvidia0 (its own: true)"},
		"one wasn't tried":               {"/dev/nvidia0|opened\n/x|Operation not permitted\n", "", "2 of 3 nodes were tried"},
		"one twice is none for another":  {"/dev/nvidia0|opened\n/x|Operation not permitted\n/x|Operation not permitted\n", "", "2 of 3 nodes were tried"},
		"what nobody asked for is noise": {"sh: warning\n/dev/nvidia0|opened\n/x|Operation not permitted\n/y|Operation not permitted\n/z|opened\n", "1 opened, 2 refused", ""},
	} {
		saw, err := judgeOpens(c.out, own)
		if saw != c.saw || (err != nil) != (c.why != "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: saw %q, %v", name, saw, err)
		}
	}
}

func TestWhatNvidiaSMIListsIsCompared(t *testing.T) {
	const card = "GPU 0: NVIDIA A100 (UUID: GPU-1)\n"
	const first, second = "  MIG 1g.10gb Device 0: (UUID: MIG-a)\n", "  MIG 2g.20gb Device 1: (UUID: MIG-b)\n"
	for name, c := range map[string]struct {
		out     string
		granted []string
		ok      bool
	}{
		"a whole card":                   {card, []string{"GPU-1"}, true},
		"an instance below its card":     {card + first, []string{"MIG-a"}, true},
		"two, in another order":          {card + first + second, []string{"MIG-b", "MIG-a"}, true},
		"one more than was granted":      {card + first + second, []string{"MIG-a"}, false},
		"one less":                       {card + first, []string{"MIG-a", "MIG-b"}, false},
		"another card beside":            {card + "GPU 1: NVIDIA A100 (UUID: GPU-2)\n" + first, []string{"MIG-a"}, false},
		"the card in place of its part":  {card, []string{"MIG-a"}, false},
		"nothing, where one was granted": {"No devices found.\n", []string{"MIG-a"}, false},
	} {
		if _, err := listed(c.out, c.granted); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContainersDifferByTheirNodes(t *testing.T) {
	a := &room{Container: apitype.Container{Name: "a"}, nodes: map[uint64]string{1: "/dev/nvidiactl", 2: "/dev/nvidia0"}}
	b := &room{Container: apitype.Container{Name: "b"}, nodes: map[uint64]string{1: "/dev/nvidiactl", 3: "/dev/nvidia1"}}
	if saw, err := differ([]*room{a, b}); err != nil || saw != "a: 1 of its own of 2 nodes; b: 1 of its own of 2 nodes" {
		t.Errorf("%q, %v", saw, err)
	}
	b.nodes = map[uint64]string{1: "/dev/nvidiactl"}
	if _, err := differ([]*room{a, b}); err == nil || !strings.HasPrefix(err.Error(), "b has no node") {
		t.Errorf("one with shared nodes alone: %v", err)
	}
}

// Only character devices count, by their number and not by their name.
func TestEachDeviceBelowAFolderIsFound(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "given"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "given", "x.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(dir, "given", "nvidia0")
	if err := unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(120, 7))); errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		t.Skip("no device nodes without root")
	} else if err != nil {
		t.Fatal(err)
	}
	found := map[uint64]string{}
	if err := eachDevice(dir, found); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint64]string{unix.Mkdev(120, 7): node}, found); diff != "" {
		t.Error(diff)
	}
}

func TestACardIsTriedInAFewWays(t *testing.T) {
	var names []string
	for _, w := range chooseWays([]map[string]int{{"1g": 7}, {"3g": 2}, {"2g": 3, "1g": 1}, {"4g": 1, "3g": 1}, {"7g": 1}}) {
		names = append(names, w.name)
		if c := w.card(apitype.MIGCard{Card: 1, UUID: "GPU-1"}); len(c.Instances) != count(w.of) || !c.Enabled || c.UUID != "GPU-1" {
			t.Errorf("%s: %+v", w.name, c)
		}
	}
	want := []string{"one instance (1×7g)", "instances alike (2×3g)", "mixed instances (1×3g, 1×4g)"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if ways := chooseWays(nil); ways != nil {
		t.Errorf("a card without MIG: %v", ways)
	}
}

// A record never claims more than was seen, and no text breaks its table.
func TestTheRecordOfACardSaysWhatIsLeft(t *testing.T) {
	r := verification{Card: 1, Host: "lab1", Restored: true, Checks: []verified{
		{Name: "a|b", Result: resultOK, Saw: "two\nlines"}, {Name: "c", Result: resultFailed}, {Name: "d", Result: resultSkipped, Saw: "why"},
	}}
	if got := r.verdict(); got != "1 checks passed, 1 failed, 1 not tried; the card is cut as it was, and drained as it was." {
		t.Error(got)
	}
	if text := r.markdown(); !strings.Contains(text, `| a\|b | ok |  | two lines | 0 |`+"\n") {
		t.Error(text)
	}
	r.Moved = true
	if got := r.verdict(); !strings.Contains(got, "stand elsewhere") {
		t.Error(got)
	}
	r.Restored, r.Left, r.Interrupted = false, "MIG is on", true
	if got := r.verdict(); !strings.Contains(got, "interrupted; the card is NOT as it was: MIG is on") {
		t.Error(got)
	}
}

// A note outlives who wrote it, and only one at a time may have it.
func TestANoteOfACardOutlivesItsRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "verify.json")
	n, err := openNote(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, found, err := n.read(); found || err != nil {
		t.Errorf("a new one: %t, %v", found, err)
	}
	was := apitype.MIGCard{Card: 1, UUID: "GPU-1", Enabled: true, Instances: []apitype.MIGInstance{{Profile: "1g.10gb", Start: 3}}}
	if err := n.write(was); err != nil {
		t.Fatal(err)
	}
	if _, err := openNote(path); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("two at once: %v", err)
	}
	n.close()
	for _, want := range []bool{true, false} { // until it is cleared
		if n, err = openNote(path); err != nil {
			t.Fatal(err)
		}
		card, found, err := n.read()
		if err != nil || found != want || want && !cmp.Equal(card, was) {
			t.Errorf("found %t, %+v, %v", found, card, err)
		}
		if err := n.clear(); err != nil {
			t.Fatal(err)
		}
		n.close()
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err = openNote(path); err != nil {
		t.Fatal(err)
	}
	defer n.close()
	if _, _, err := n.read(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a torn one: %v", err)
	}
}
