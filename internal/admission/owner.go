package admission

import (
	"fmt"
	"path"
	"slices"
	"strconv"

	"ds01.dev/ds01/internal/container"
)

// plain reports whether the ids of one of the mounts can't be mapped, so that
// only their owner may act on it.
func (g Grant) plain() bool {
	return slices.ContainsFunc(g.Mounts, func(m container.Mount) bool { return m.Plain })
}

// runAsOwner makes a container with host mounts run as the caller and nobody
// else, outside the engine's remapped range where there is one: on the host's
// file systems it can do what its owner can do.
func runAsOwner(c *Create, s Subject, g Grant) error {
	h, own := &c.HostConfig, fmt.Sprintf("%d:%d", s.Account.UID, s.Account.GID)
	if c.User != "" && c.User != own && c.User != strconv.Itoa(s.Account.UID) {
		return denied(notCreated, fmt.Sprintf("%s, so a container with your directories runs as you (%s), not as %q", g.whyOwner(), own, c.User),
			"Leave --user away, or leave the mounts away.")
	}
	if err := g.checkMadeByRoot(c); err != nil {
		return err
	}
	c.User = own
	h.CapDrop = []string{"ALL"}
	h.SecurityOpt = []string{"no-new-privileges"}
	if s.Isolation == UserNS {
		h.UsernsMode = "host"
	}
	return nil
}

func (g Grant) whyOwner() string {
	for _, m := range g.Mounts {
		if m.Plain {
			return "the file system of " + m.Source + " can't map ids"
		}
	}
	return "this host's engine doesn't remap users"
}

// checkMadeByRoot keeps the engine from making directories inside mounts whose
// ids can't be mapped: it would make them as the host's root. Other mounts
// don't take files of root's.
func (g Grant) checkMadeByRoot(c *Create) error {
	made := append(madeByEngines(), path.Join("/", c.WorkingDir))
	for _, p := range g.ImageMakes {
		made = append(made, path.Join("/", p))
	}
	for target := range c.HostConfig.Tmpfs {
		made = append(made, target)
	}
	for _, m := range g.Mounts {
		made = append(made, m.Target)
	}
	for _, m := range g.Mounts {
		for _, p := range made {
			if m.Plain && !m.ReadOnly && p != m.Target && below(m.Target, p) {
				return denied(notCreated, fmt.Sprintf("%s would be made in %s as the host's root, because its file system can't map ids", p, m.Source),
					"Mount and work at paths that lie in no other mount, or mount "+m.Source+" read-only.")
			}
		}
	}
	return nil
}

// madeByEngines lists what the engine, its init and NVIDIA's hook put into
// containers.
func madeByEngines() []string {
	return []string{
		"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/sbin/docker-init",
		"/usr/bin/nvidia-smi", "/usr/lib/libcuda.so", "/usr/lib64/libcuda.so", "/lib/firmware/nvidia",
	}
}

// PlainWarning says under which rules a container runs whose mounts' ids can't
// be mapped, or returns "" for any other. On an engine that doesn't remap
// users all run so.
func PlainWarning(mounts []container.Mount, s Subject) string {
	g := Grant{Mounts: mounts}
	if !g.plain() || s.Isolation == UID {
		return ""
	}
	return fmt.Sprintf("%s, so this container and every command in it run as you (%d:%d), without capabilities: not as root.",
		g.whyOwner(), s.Account.UID, s.Account.GID)
}
