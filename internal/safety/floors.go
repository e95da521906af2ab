package safety

import (
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/apitype"
)

// A floor is the oldest version without a hole. Sources: the programs' own
// advisories.
type floor struct {
	version Version
	holes   []string
	means   string // what the holes let somebody do
}

func (f floor) String() string { return strings.Join(f.holes, ", ") }

// fixed reports whether a distribution has closed all holes of the floor in
// an older version.
func (f floor) fixed(by []string) bool {
	return !slices.ContainsFunc(f.holes, func(hole string) bool { return !slices.Contains(by, hole) })
}

// judgeEngine: the API that ds01 is tested with begins with 20.10.
func judgeEngine(f Facts) (apitype.Check, bool) {
	const name = "engine version"
	v, known := ParseVersion(f.Engine)
	if !known {
		return apitype.Check{}, false
	}
	archive := floor{Version{29, 5, 1, false}, []string{"CVE-2026-41567"}, "an archive copied into a container could run one of its programs as root on the host"}
	switch {
	case v.Less(Version{20, 10, 0, false}):
		return fail(name, fmt.Sprintf("Docker %s is older than 20.10, the oldest that ds01 is tested with.", f.Engine), "Install a newer engine."), true
	case v.Less(archive.version):
		return warn(name, fmt.Sprintf("Docker %s may have a known hole (%s, closed in %s): %s.", f.Engine, archive, archive.version, archive.means),
			"Install a newer engine, or one whose distribution has closed it; ask its security tracker."), true
	}
	return ok(name, "Docker "+f.Engine+" has no hole that ds01 knows of."), true
}

// runcFloor returns the floor of the line that a version is of: fixes were
// made in 1.2 and in 1.3.
func runcFloor(v Version) floor {
	f := floor{Version{1, 2, 8, false}, []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"}, "a container could write to the host's /proc"}
	if v.Major == 1 && v.Minor == 3 {
		f.version = Version{1, 3, 3, false}
	}
	return f
}

func judgeRunc(f Facts) (apitype.Check, bool) {
	const name = "runc version"
	v, known := ParseVersion(f.Runc)
	if !known {
		return apitype.Check{}, false
	}
	must := floor{Version{1, 1, 12, false}, []string{"CVE-2024-21626"}, "a container could step out into the host's files"}
	should := runcFloor(v)
	const next = "Install a newer runc (docker-ce brings it as containerd.io)."
	switch {
	case v.Less(must.version) && !must.fixed(f.RuncFixes):
		return fail(name, fmt.Sprintf("runc %s has a hole (%s, closed in %s): %s.", f.Runc, must, must.version, must.means), next), true
	case v.Less(should.version) && !should.fixed(f.RuncFixes):
		return warn(name, fmt.Sprintf("runc %s has holes (%s, closed in %s): %s.", f.Runc, should, should.version, should.means), next), true
	case v.Less(should.version):
		return ok(name, fmt.Sprintf("runc %s: its distribution has closed the holes of that version.", f.Runc)), true
	}
	return ok(name, "runc "+f.Runc+" has no hole that ds01 knows of."), true
}

func judgeToolkit(f Facts) (apitype.Check, bool) {
	const name = "nvidia toolkit"
	v, known := ParseVersion(f.Toolkit)
	if !known {
		return apitype.Check{}, false
	}
	f17 := floor{Version{1, 17, 8, false}, []string{"CVE-2025-23266"}, "an image with LD_PRELOAD could run as root on the host"}
	if v.Less(f17.version) {
		return fail(name, fmt.Sprintf("NVIDIA's container toolkit %s has a hole (%s, closed in %s): %s.", v, f17, f17.version, f17.means),
			"Install nvidia-container-toolkit "+f17.version.String()+" or newer."), true
	}
	return ok(name, fmt.Sprintf("NVIDIA's container toolkit %s has no hole that ds01 knows of.", v)), true
}

func judgeBuildKit(f Facts) (apitype.Check, bool) {
	const name = "buildkit"
	v, known := ParseVersion(f.BuildKit)
	if !known {
		return apitype.Check{}, false
	}
	b := floor{Version{0, 12, 5, false}, []string{"CVE-2024-23651", "CVE-2024-23652", "CVE-2024-23653"}, "a build could reach the host's files"}
	if v.Less(b.version) {
		return fail(name, fmt.Sprintf("BuildKit %s has holes (%s, closed in %s): %s.", v, b, b.version, b.means), "Install a newer BuildKit, or stop it."), true
	}
	return ok(name, fmt.Sprintf("BuildKit %s has no hole that ds01 knows of.", v)), true
}
