package admission

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
)

// A MountRoot is a folder of this host from which a person may mount.
type MountRoot struct {
	Path     string // as the limits name it, for this person
	Real     string // the same where its links lead; Path where they lead nowhere
	ReadOnly bool
	Home     bool // of the person's home: only what is their own may be mounted
}

// MountRoots returns the roots of a person by their limits. Real is Path:
// where links lead is for the caller to find out.
func MountRoots(who account.Account, l limits.Limits) []MountRoot {
	var roots []MountRoot
	for _, r := range l.Mounts {
		if p := r.For(who); p != "" {
			roots = append(roots, MountRoot{Path: p, Real: p, ReadOnly: r.ReadOnly, Home: r.OfHome()})
		}
	}
	return roots
}

// AllowMount returns the root that a mount comes from, and the mount as it may
// be made: read-only where the root is and nothing was said. The innermost
// root decides. Errors are of kind problem.ErrDenied.
func AllowMount(ask MountAsk, roots []MountRoot, l limits.Limits) (MountAsk, MountRoot, error) {
	no := func(why, next string) (MountAsk, MountRoot, error) {
		return ask, MountRoot{}, denied(ask.Source+" can't be mounted", fmt.Sprintf("%s (mounts: %s)", why, l.Source("mounts")), next)
	}
	outer, actual, ok := holder(ask.Source, roots)
	if !ok && path.Base(ask.Source) == "docker.sock" {
		return no("it isn't the socket where people find Docker here",
			"Mount /var/run/docker.sock: in its place the container gets a socket of its own, at which it speaks for you.")
	}
	if !ok {
		return no("it doesn't lie in a folder that you may mount from", "Mount a directory or file in "+listed(roots)+".")
	}
	inner := innermost(actual, roots)
	if inner.ReadOnly && ask.Writable {
		return no("what lies in "+inner.Path+" is read-only for everybody", "Write "+ask.Source+":"+ask.Target+":ro, or leave the mode away; a container that exists must be made again.")
	}
	ask.ReadOnly = ask.ReadOnly || inner.ReadOnly
	for _, r := range roots {
		if r.ReadOnly && !ask.ReadOnly && r.Real != actual && below(actual, r.Real) {
			return no(r.Path+" below it is read-only for everybody", "Mount it read-only (:ro), or a directory beside "+r.Path+".")
		}
	}
	return ask, MountRoot{Path: outer.Path, Real: outer.Real, ReadOnly: inner.ReadOnly, Home: inner.Home}, nil
}

// IsDoor reports whether a clean path means the gateway's socket, which listens
// at gateway: Docker's usual paths do too, wherever it listens.
func IsDoor(source, gateway string) bool {
	return slices.Contains([]string{"/var/run/docker.sock", "/run/docker.sock", gateway}, source)
}

// AllowDoor decides whether a container of who's may have a socket at which it
// speaks for them; given tells whether this site gives any. Errors are of kind
// problem.ErrDenied.
func AllowDoor(source string, who account.Account, given bool) error {
	switch {
	case !given:
		return denied(source+" can't be mounted", "this site gives containers no socket that speaks for their owners (gateway.doors in ds01.yaml)",
			"Run what speaks to Docker outside of containers; for Testcontainers set TESTCONTAINERS_RYUK_DISABLED=true.")
	case who.UID == 0:
		return denied(source+" can't be mounted", "it would speak for root, whose files are the host's own",
			"Make the container as somebody else than root.")
	}
	return nil
}

// holder returns the root that holds most of a path as it is written, and the
// path as it is without the root's links.
func holder(source string, roots []MountRoot) (root MountRoot, actual string, ok bool) {
	most := -1
	for _, r := range roots {
		for _, p := range []string{r.Path, r.Real} {
			if below(p, source) && len(p) > most {
				root, actual, most = r, path.Join(r.Real, strings.TrimPrefix(source, p)), len(p)
			}
		}
	}
	return root, actual, most >= 0
}

// innermost returns the root closest to a path without links. One of them
// holds it. Of two for one folder the stricter counts.
func innermost(actual string, roots []MountRoot) MountRoot {
	holding := slices.DeleteFunc(slices.Clone(roots), func(r MountRoot) bool { return !below(r.Real, actual) })
	return slices.MaxFunc(holding, func(a, b MountRoot) int {
		return cmp.Or(cmp.Compare(len(a.Real), len(b.Real)), strict(a)-strict(b))
	})
}

func strict(r MountRoot) (points int) {
	if r.ReadOnly {
		points += 2
	}
	if r.Home {
		points++
	}
	return points
}

// below reports whether a clean path is folder or lies below it.
func below(folder, p string) bool {
	return p == folder || strings.HasPrefix(p, strings.TrimSuffix(folder, "/")+"/")
}

func listed(roots []MountRoot) string {
	if len(roots) == 0 {
		return "no folder: your limits name none; ask your administrators"
	}
	texts := make([]string, len(roots))
	for i, r := range roots {
		if texts[i] = r.Path; r.ReadOnly {
			texts[i] += " (read-only)"
		}
	}
	return strings.Join(texts, ", ")
}

// CheckGroups refuses to start a container that holds Unix groups which its
// owner has left since it was made: they are fixed in it.
func CheckGroups(name string, had []int, who account.Account) error {
	for _, gid := range had {
		held := func(g account.Group) bool { return g.GID == gid }
		if gid != who.GID && !slices.ContainsFunc(who.Groups, held) {
			return denied("Container "+name+" not started",
				fmt.Sprintf("it was made with the rights of group %d, which you aren't in any more", gid), "Make the container again.")
		}
	}
	return nil
}
