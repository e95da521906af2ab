package cli

import (
	"path/filepath"
	"slices"
	"strings"
)

// A link is a name that the binary is also installed under.
type link struct {
	name    string
	command string // what it stands for, behind "ds01"
}

// links is the table of argv[0] names. Each command stands in it only once it
// exists.
func links() []link {
	return []link{
		{"audit", "audit"},
		{"audit-show", "audit show"},
		{"audit-verify", "audit verify"},
		{"container", "container"},
		{"container-adopt", "container adopt"},
		{"container-attach", "container open"},
		{"container-cp", "container cp"},
		{"container-create", "container create"},
		{"container-deploy", "container deploy"},
		{"container-exec", "container exec"},
		{"container-extend", "container extend"},
		{"container-keep", "container keep"},
		{"container-list", "container list"},
		{"container-logs", "container logs"},
		{"container-open", "container open"},
		{"container-pause", "container pause"},
		{"container-protect", "container protect"},
		{"container-prune", "container prune"},
		{"container-remove", "container remove"},
		{"container-rename", "container rename"},
		{"container-retire", "container retire"},
		{"container-run", "container run"},
		{"container-start", "container start"},
		{"container-stats", "container stats"},
		{"container-stop", "container stop"},
		{"container-update", "container update"},
		{"container-unkeep", "container unkeep"},
		{"container-unpause", "container unpause"},
		{"container-unprotect", "container unprotect"},
		{"dashboard", "dashboard"},
		{"exempt", "exempt"},
		{"exempt-add", "exempt add"},
		{"exempt-list", "exempt list"},
		{"exempt-remove", "exempt remove"},
		{"gpu", "gpu"},
		{"gpu-list", "gpu list"},
		{"gpu-mig", "gpu mig"},
		{"gpu-why", "gpu why"},
		{"gpu-drain", "gpu drain"},
		{"gpu-undrain", "gpu undrain"},
		{"gpu-verify", "gpu verify"},
		{"gpu-queue", "gpu queue"},
		{"gpu-reservations", "gpu reservations"},
		{"gpu-reserve", "gpu reserve"},
		{"gpu-unreserve", "gpu unreserve"},
		{"image", "image"},
		{"image-delete", "image delete"},
		{"image-list", "image list"},
		{"image-load", "image load"},
		{"image-save", "image save"},
		{"image-share", "image share"},
		{"image-unshare", "image unshare"},
		{"limits", "limits"},
		{"limits-check", "limits check"},
		{"limits-diff", "limits diff"},
		{"limits-show", "limits show"},
		{"policy", "policy"},
		{"policy-check", "policy check"},
		{"policy-eval", "policy eval"},
		{"policy-test", "policy test"},
		{"user", "user"},
		{"user-limits", "user limits"},
		// Names of the deployment that ds01 replaces.
		{"check-limits", "user limits"},
		{"container-cleanup", "container remove"},
		{"ds01-dashboard", "dashboard"},
		{"ds01-health-check", "doctor"},
		{"ds01-mig-partition", "gpu mig apply"},
		{"get-limits", "user limits"},
		{"image-remove", "image delete"},
		{"quota-check", "user limits"},
	}
}

// Links returns the names, beside ds01, that the binary is to be installed
// under, in the order of the table.
func Links() []string {
	var names []string
	for _, l := range links() {
		names = append(names, l.name)
	}
	return names
}

// resolveLink turns args with argv[0] into the arguments of ds01. The shell's
// completion calls a link with a leading word of cobra's, which stays first.
func resolveLink(args []string) []string {
	if len(args) == 0 {
		return []string{}
	}
	rest := slices.Clone(args[1:])
	i := slices.IndexFunc(links(), func(l link) bool { return l.name == filepath.Base(args[0]) })
	if i < 0 {
		return rest
	}
	at := 0
	if len(rest) > 0 && strings.HasPrefix(rest[0], "__complete") {
		at = 1
	}
	return slices.Insert(rest, at, strings.Fields(links()[i].command)...)
}
