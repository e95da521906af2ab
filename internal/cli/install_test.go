package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/takeover"
)

// shown returns a plan as it is printed.
func shown(t *testing.T, p takeover.Plan, asJSON bool) string {
	t.Helper()
	var out bytes.Buffer
	a := &app{Streams: Streams{Out: &out}, env: func(string) string { return "" }}
	if err := a.showPlan(p, asJSON, false); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestAPlanIsShownWithItsDiffsAndNotes(t *testing.T) {
	long := strings.Repeat("x\n", 100)
	put := func(path, before, after string) takeover.Step {
		s := takeover.Step{Do: takeover.Put, Path: path, Then: takeover.Content([]byte(after))}
		var old []byte
		if before != "" {
			s.Now, old = takeover.Content([]byte(before)), []byte(before)
		}
		s.Diff = takeover.Diff(path, old, []byte(after))
		return s
	}
	name := func(name string) takeover.Step {
		return takeover.Step{Do: takeover.Put, Path: "/usr/bin/" + name, Then: takeover.Link("ds01")}
	}
	gone := name("gpu")
	gone.Now, gone.Then = gone.Then, gone.Now
	got := shown(t, takeover.Plan{
		Steps: []takeover.Step{
			name("image"), name("image-list"),
			put("/a", "1\n2\n", "1\n3\n"),
			put("/b", "", long),
			name("gpu"), gone,
			{Do: takeover.Stop, Unit: "docker.socket", Why: "containers run on"},
			{Do: takeover.CopyImages, Images: append([]takeover.Image{{ID: "sha256:1", Names: []string{"a:1", "a:2"}, Bytes: 3 << 29}}, make([]takeover.Image, 41)...)},
		},
		Notes: []string{"It is said."},
	}, false)
	want := " 1–2. link to ds01 in /usr/bin: image image-list\n" +
		" 3. change /a\n      --- /a\n      +++ /a\n      @@ -1,2 +1,2 @@\n       1\n      -2\n      +3\n" +
		" 4. write /b\n      --- /dev/null\n      +++ /b\n      @@ -0,0 +1,100 @@\n" + strings.Repeat("      +x\n", 9) + "      … 91 lines more; --json has them all\n" +
		" 5. link /usr/bin/gpu to ds01\n 6. remove /usr/bin/gpu\n" +
		" 7. systemctl stop docker.socket (containers run on)\n" +
		" 8. copy 42 images to the engine's new folder\n        1.5GiB  a:1 a:2\n" + strings.Repeat("            0B  , without a name\n", 39) +
		"      … 2 images more; --json has them all\n" +
		"Note: It is said.\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPlanIsOneDocument(t *testing.T) {
	var got struct {
		Done  bool
		Steps []map[string]any
		Notes []string
	}
	text := shown(t, takeover.Plan{Steps: []takeover.Step{{Do: takeover.Start, Unit: "ds01.service"}}}, true)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if got.Done || got.Notes == nil || len(got.Steps) != 1 || fmt.Sprint(got.Steps[0]) != "map[do:start unit:ds01.service]" {
		t.Errorf("got %s", text)
	}
}

func TestEveryLinkIsInstalledBesideItsShells(t *testing.T) {
	var out bytes.Buffer
	a := &app{Streams: Streams{Out: &out}, env: func(string) string { return "" }}
	completions, err := a.completions(a.root())
	if err != nil || len(completions) != 3 || out.Len() > 0 {
		t.Fatal(err, len(completions), out.Len())
	}
	for _, c := range completions {
		if !slices.ContainsFunc(strings.Fields(string(c.Text)), func(w string) bool { return w == "container-list" }) {
			t.Errorf("%s doesn't complete container-list", c.Path)
		}
	}
}
