package daemon

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/recorder"
)

var errFull = errors.New("the disk is full")

// fills is a log that is full when it comes to writing.
type fills struct{}

func (fills) Ready() error                       { return nil }
func (fills) Append(event.Event) (uint64, error) { return 0, errFull }

func TestTheEngineIsNotAskedForWhatIsNotWrittenDown(t *testing.T) {
	engine, err := docker.New(filepath.Join(t.TempDir(), "nobody"))
	if err != nil {
		t.Fatal(err)
	}
	a := announced{engine}
	entry := recorder.New(fills{}, time.Now, slog.New(slog.DiscardHandler)).Entry(event.Event{}, true, nil)
	ctx, err := entry.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"create": func() error { _, _, err := a.Create(ctx, "n", "", nil); return err },
		"images": func() error { return a.LoadImages(ctx, nil) },
		"start":  func() error { return a.Start(ctx, "x") },
		"stop":   func() error { return a.Stop(ctx, "x", 0) },
		"remove": func() error { return a.Remove(ctx, "x", true) },
		"files":  func() error { return a.WriteFiles(ctx, "x", nil) },
		"stream": func() error { _, err := a.Dial(ctx); return err },
		"request": func() error {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/x", nil)
			if err != nil {
				return err
			}
			resp, err := a.RoundTrip(r)
			if err == nil {
				resp.Body.Close()
			}
			return err
		},
	} {
		if err := change(); !errors.Is(err, errFull) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := a.Stop(t.Context(), "x", 0); errors.Is(err, errFull) {
		t.Error("what nobody asked for waits for the log")
	}
}

// Every method of the engine that changes something is announced, and one that
// comes is refused here until it is, or is known only to look.
func TestEveryChangeOfTheEngineIsAnnounced(t *testing.T) {
	looks := []string{
		"Apart", "ByClaim", "Close", "Events", "Exists", "HasVolume", "Image", "Images", "Info", "Inspect", "LayerBytes", "List", "Networks", "ReadFile", "SaveImages", "Setup", "Size",
		"Stored", "VolumeFolders", "Volumes",
	}
	file, err := parser.ParseFile(token.NewFileSet(), "announced.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var own []string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			own = append(own, f.Name.Name)
		}
	}
	engine := reflect.TypeFor[*docker.Engine]()
	for m := range engine.Methods() {
		if name := m.Name; slices.Contains(looks, name) == slices.Contains(own, name) {
			t.Errorf("%s is in neither list, or in both", name)
		}
	}
}
