package layers_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "ds01.dev/ds01"

// root is the module's folder, seen from this package.
const root = "../.."

// A pkg is what go list tells about a package.
type pkg struct {
	ImportPath   string
	Name         string
	Doc          string // the first sentence of the package comment
	GoFiles      []string
	CgoFiles     []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// name returns the package's path below internal, "../x" for one beside it.
func (p pkg) name() string { return nameOf(p.ImportPath) }

func nameOf(importPath string) string {
	if name, ok := strings.CutPrefix(importPath, module+"/internal/"); ok {
		return name
	}
	if name, ok := strings.CutPrefix(importPath, module+"/"); ok {
		return "../" + name
	}
	return importPath
}

func packages(t *testing.T) []pkg {
	t.Helper()
	return goJSON[pkg](t, "list", "-e", "-json=ImportPath,Name,Doc,GoFiles,CgoFiles,Imports,TestImports,XTestImports", "./...")
}

// goJSON runs the go command and decodes the values it prints.
func goJSON[T any](t *testing.T, args ...string) []T {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	var all []T
	for values := json.NewDecoder(strings.NewReader(string(out))); ; {
		var v T
		if err := values.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
}
