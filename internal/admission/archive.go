package admission

import (
	"archive/tar"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

const notCopied = "Files not copied"

// ReviewArchivePath returns the volume that a path of a container lies in: ds01
// copies to and from it itself; the zero value is none. It refuses a path at or
// below one of the owner's directories: the engine copies as root of the host,
// with everybody's rights to them.
func ReviewArchivePath(name string, mounts []container.Mount, volumes []volume.Mounted) (volume.Mounted, error) {
	if name == "" {
		return volume.Mounted{}, refuse(problem.ErrInvalid, notCopied, "no path is given", "Name it as CONTAINER:/PATH.")
	}
	if strings.ContainsRune(name, 0) {
		return volume.Mounted{}, refuse(problem.ErrInvalid, notCopied, "a path can't hold a zero byte", "")
	}
	clean := path.Clean("/" + name)
	directory, in := liesIn(clean, mounts, volumes)
	return in, refuseDirectory(clean, directory)
}

// liesIn returns in which of the owner's directories or in which volume a
// clean path of a container lies; at most one has a target.
func liesIn(name string, mounts []container.Mount, volumes []volume.Mounted) (directory container.Mount, in volume.Mounted) {
	deepest := ""
	deeper := func(target string) bool {
		if !strings.HasPrefix(name+"/", target+"/") || len(target) <= len(deepest) {
			return false
		}
		deepest = target
		return true
	}
	for _, m := range mounts {
		if deeper(m.Target) {
			directory = m
		}
	}
	for _, v := range volumes {
		if deeper(v.Target) {
			directory, in = container.Mount{}, v
		}
	}
	return directory, in
}

func refuseDirectory(name string, m container.Mount) error {
	if m.Target == "" {
		return nil
	}
	return denied(notCopied, fmt.Sprintf("%s is your directory %s on this host, and the engine would reach it as root", m.Target, m.Source),
		fmt.Sprintf("Copy it there, without docker: %s.", path.Join(m.Source, strings.TrimPrefix(name, m.Target))))
}

// checkEntryPlace refuses an entry that doesn't lie in what the directory lies
// in to which its archive goes.
func checkEntryPlace(name, directory string, mounts []container.Mount, volumes []volume.Mounted) error {
	clean := path.Join("/", directory, name)
	m, in := liesIn(clean, mounts, volumes)
	if err := refuseDirectory(clean, m); err != nil {
		return err
	}
	if _, to := liesIn(path.Clean("/"+directory), mounts, volumes); in.Target != to.Target {
		return denied(notCopied, fmt.Sprintf("%q would go to the volume at %s, and each volume is copied to for itself", name, in.Target),
			fmt.Sprintf("Leave it out, and copy it to CONTAINER:%s.", path.Dir(clean)))
	}
	return nil
}

// ReviewEntry returns what is sent to the engine in place of one entry of a
// tar archive that goes to a directory of a container: a header of our own
// with the same meaning. Devices are refused, and names that climb. Every name
// begins with "./", so that no archive of ours begins like a compressed one,
// for which the engine would start a program.
func ReviewEntry(h *tar.Header, directory string, mounts []container.Mount, volumes []volume.Mounted) (*tar.Header, error) {
	name, err := entryName(h.Name)
	if err != nil {
		return nil, err
	}
	if err := checkEntryPlace(name, directory, mounts, volumes); err != nil {
		return nil, err
	}
	ours := &tar.Header{
		Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime,
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, '\x00': // as old archives call a file
		ours.Typeflag, ours.Size = tar.TypeReg, h.Size
	case tar.TypeDir:
		ours.Name += "/"
	case tar.TypeFifo:
	case tar.TypeSymlink: // followed inside the container's own root
		ours.Linkname = h.Linkname
	case tar.TypeLink:
		if ours.Linkname, err = entryName(h.Linkname); err != nil {
			return nil, err
		}
	case tar.TypeChar, tar.TypeBlock:
		return nil, denied(notCopied, fmt.Sprintf("%q is a device, and devices are granted by ds01 only", h.Name), "Leave it out of the archive.")
	default:
		return nil, denied(notCopied, fmt.Sprintf("%q is of the kind %q, which ds01 doesn't know", h.Name, h.Typeflag), "Leave it out of the archive.")
	}
	ours.PAXRecords, err = attributes(h)
	return ours, err
}

// entryName returns a name relative to where the archive goes.
func entryName(name string) (string, error) {
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", denied(notCopied, fmt.Sprintf("%q climbs out of the archive", name), "Name files without '..'.")
	}
	clean := path.Clean("/" + name)
	if clean == "/" {
		return ".", nil
	}
	return "." + clean, nil
}

// xattr is how an extended attribute is called in a tar archive.
const xattr = "SCHILY.xattr."

// attributes returns the extended attributes that files in a container may
// have; those of the host's own file systems are refused.
func attributes(h *tar.Header) (map[string]string, error) {
	var kept map[string]string
	for key, value := range h.PAXRecords {
		attribute, ok := strings.CutPrefix(key, xattr)
		if !ok {
			continue // it is in a field of the header, or means nothing to the engine
		}
		if attribute != "security.capability" && !strings.HasPrefix(attribute, "user.") {
			return nil, denied(notCopied, fmt.Sprintf("%q has the attribute %q, which only the host sets", h.Name, attribute), "Make the archive without it.")
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[key] = value
	}
	return kept, nil
}

// ReviewContextEntry returns what is sent to the engine in place of one entry
// of a build's context, as ReviewEntry does for a container. A sparse file is
// refused: a few bytes could fill the disk.
func ReviewContextEntry(h *tar.Header) (*tar.Header, error) {
	records := strings.Join(slices.Collect(maps.Keys(h.PAXRecords)), " ")
	if h.Typeflag == tar.TypeGNUSparse || strings.Contains(records, "GNU.sparse.") {
		return nil, denied(notBuilt, fmt.Sprintf("%q is sparse", h.Name), "Send the archive without --sparse.")
	}
	ours, err := ReviewEntry(h, "/", nil, nil)
	return ours, retitle(err)
}
