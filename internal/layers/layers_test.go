// Package layers holds the rules of the house as tests: which package may
// import which, and what the documentation must keep to. It has no code.
package layers_test

import (
	"slices"
	"strings"
	"testing"
)

// A floor is a set of packages that may not import one another.
type floor struct {
	name     string
	packages []string
}

// floors lists every package from the ground up, by its path below internal
// (deploy and cmd/ds01 stand beside it). A package may import packages of
// lower floors only, never one of its own floor. x/sim and x/xtest stand on
// x's floor and may import x. A package that isn't written yet may be listed.
// Do not change this list to fix a build; change the code, or argue for the
// move.
var floors = []floor{
	{"0 words", []string{"problem", "quantity", "bubble", "../deploy"}},
	{"1a decide", []string{"account", "gpu", "image", "label", "event", "apitype", "port"}},
	{"1b decide", []string{"config", "layout", "limits", "network", "volume", "safety"}},
	{"1b' decide", []string{"container"}},
	{"1c decide", []string{"admission", "lifecycle", "orphan", "takeover"}},
	{"1d decide", []string{"policy"}},
	{"2 speak", []string{
		"docker", "docker/scratch", "docker/dockertest", "docker/dockerfile", "docker/buildkit", "docker/step", "docker/grant",
		"nvml", "nvml/sim", "nvml/nvmltest",
		"store", "store/storetest",
		"cgroup", "mount", "systemd", "probe", "procfs", "directory", "directory/scratchuser", "rego", "terminal", "mail",
		"kmsg",
		"audit", // the audit log's files: who appends holds a chain and a file, which only one may
	}},
	{"3 act", []string{"peer", "inventory", "warden", "sampler", "allocator", "partitioner", "curator", "recorder", "registrar", "registrar/registrartest", "archiver"}},
	{"3b act", []string{"launcher"}},
	{"3c act", []string{"reconciler", "enforcer", "coroner", "lookout", "steward"}},
	{"4 serve", []string{"gateway", "api", "metrics", "client", "client/clienttest", "redteam"}},
	{"5 wire", []string{"daemon"}},
	{"6 people", []string{"wizard", "installer"}},
	{"6b people", []string{"cli"}},
	{"6c people", []string{"demo"}},
	{"7 start", []string{"../cmd/ds01"}},
	{"8 try", []string{"e2e/lab"}},
	{"8b try", []string{"e2e/bench", "e2e/clients", "e2e/crash", "e2e/files", "e2e/images", "e2e/install", "e2e/redteam", "e2e/tenants", "e2e/traffic"}},
}

// sideways bans imports that the floors alone would allow: those who act and
// those who serve reach the outside through interfaces, so they import no
// adapter.
var sideways = map[string]string{"3": "2", "4": "2"}

// impure lists what the packages that decide must not import.
var impure = []string{
	"database/sql", "log/slog", "math/rand", "math/rand/v2", "net", "net/http",
	"os", "os/exec", "sync", "sync/atomic", "syscall",
}

// owners names, for each outside system's library, the one package tree that
// may import it, in tests too.
var owners = map[string]string{
	"github.com/docker/docker":              "docker",
	"github.com/moby/moby":                  "docker",
	"github.com/moby/buildkit":              "docker",
	"github.com/moby/patternmatcher":        "docker",
	"github.com/NVIDIA/go-nvml":             "nvml",
	"modernc.org/sqlite":                    "store",
	"database/sql":                          "store",
	"github.com/coreos/go-systemd/v22/dbus": "systemd",
	"github.com/open-policy-agent/opa":      "rego",

	"github.com/google/go-containerregistry": "e2e/lab",

	"testing/synctest": "bubble",
}

func TestPackagesImportLowerFloorsOnly(t *testing.T) {
	floorOf := map[string]int{}
	for i, f := range floors {
		for _, name := range f.packages {
			floorOf[name] = i
		}
	}
	for _, p := range packages(t) {
		own, ok := floorOf[p.name()]
		if !ok {
			if p.name() != "layers" {
				t.Errorf("%s stands on no floor: add it to the table", p.name())
			}
			continue
		}
		for _, imported := range p.Imports {
			name := nameOf(imported)
			if f, ours := floorOf[name]; ours && !mayImport(p.name(), own, name, f) {
				t.Errorf("%s (floor %s) imports %s (floor %s)", p.name(), floors[own].name, name, floors[f].name)
			}
		}
	}
}

func mayImport(name string, own int, imported string, other int) bool {
	if own == other {
		return strings.HasPrefix(name, imported+"/") // x/sim imports x
	}
	banned, some := sideways[floors[own].name[:1]]
	return other < own && (!some || floors[other].name[:1] != banned)
}

func TestPackagesThatDecideArePure(t *testing.T) {
	for _, p := range packages(t) {
		i := slices.IndexFunc(floors, func(f floor) bool { return slices.Contains(f.packages, p.name()) })
		if i < 0 {
			continue // told by TestPackagesImportLowerFloorsOnly
		}
		for _, imported := range p.Imports {
			if floors[i].name[0] == '1' && slices.Contains(impure, imported) {
				t.Errorf("%s decides, so it must not import %s", p.name(), imported)
			}
			if floors[i].name[0] == '0' && strings.Contains(imported, ".") {
				t.Errorf("%s is a word shared by all, so it must not import %s", p.name(), imported)
			}
		}
	}
}

func TestEachOutsideSystemHasOneSpeaker(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for library, owner := range owners {
				if within(imported, library) && !within(p.name(), owner) {
					t.Errorf("%s imports %s: only %s may", p.name(), imported, owner)
				}
			}
		}
	}
}

// within tells whether a path is the tree's root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}
