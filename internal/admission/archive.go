package admission

import (
	"archive/tar"
	"fmt"
	"path"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

const notCopied = "Files not copied"

// ReviewArchivePath refuses to copy to or from a path of a container that lies
// at or below one of its owner's directories: the engine copies as root of the
// host, with everybody's rights to them.
func ReviewArchivePath(name string, mounts []container.Mount) error {
	if name == "" {
		return refuse(problem.ErrInvalid, notCopied, "no path is given", "Name it as CONTAINER:/PATH.")
	}
	if strings.ContainsRune(name, 0) {
		return refuse(problem.ErrInvalid, notCopied, "a path can't hold a zero byte", "")
	}
	return outsideMounts(path.Clean("/"+name), mounts)
}

func outsideMounts(name string, mounts []container.Mount) error {
	for _, m := range mounts {
		rest, below := strings.CutPrefix(name+"/", m.Target+"/")
		if below {
			return denied(notCopied, fmt.Sprintf("%s is your directory %s on this host, and the engine would reach it as root", m.Target, m.Source),
				fmt.Sprintf("Copy it there, without docker: %s.", path.Join(m.Source, rest)))
		}
	}
	return nil
}

// ReviewEntry returns what is sent to the engine in place of one entry of a
// tar archive that goes to a directory of a container: a header of our own
// with the same meaning. Devices are refused, and names that climb. Every name
// begins with "./", so that no archive of ours begins like a compressed one,
// for which the engine would start a program.
func ReviewEntry(h *tar.Header, directory string, mounts []container.Mount) (*tar.Header, error) {
	name, err := entryName(h.Name)
	if err != nil {
		return nil, err
	}
	if err := outsideMounts(path.Join("/", directory, name), mounts); err != nil {
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
