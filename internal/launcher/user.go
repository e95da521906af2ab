package launcher

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/problem"
)

// containerUser is the user a container runs as: by number, or, with -1, by a
// name that only its own /etc/passwd explains.
type containerUser struct {
	name     string // "" where the numbers are known
	uid, gid int
}

// effectiveUser returns the user whom the owner's files belong to inside: whom a
// Dev Container is worked in as, else whom the request and the image lead to.
// Whichever it is, the files are the owner's on the host.
func effectiveUser(r Request, image container.Image, asOwner bool) containerUser {
	if r.Person || asOwner {
		return containerUser{uid: r.Account.UID, gid: r.Account.GID}
	}
	name := cmp.Or(label.RemoteUser(r.Body.Labels), r.Body.User, image.User)
	if name == "" {
		return containerUser{} // root
	}
	user, group, hasGroup := strings.Cut(name, ":")
	uid, uerr := strconv.Atoi(user)
	gid, gerr := strconv.Atoi(group)
	if uerr == nil && hasGroup && gerr == nil {
		return containerUser{uid: uid, gid: gid}
	}
	return containerUser{name: name, uid: -1, gid: -1}
}

// resolveUser finds the numbers of a user by the container's own files and
// notes them with its mounts.
func (l *Launcher) resolveUser(ctx context.Context, record *container.Record, name string) error {
	passwd, err := l.readOptional(ctx, record.ContainerID, "/etc/passwd")
	if err != nil {
		return err
	}
	groups, err := l.readOptional(ctx, record.ContainerID, "/etc/group")
	if err != nil {
		return err
	}
	uid, gid, err := lookUp(name, passwd, groups)
	if err != nil {
		return err
	}
	mounts := make([]container.Mount, len(record.Mounts))
	for i, m := range record.Mounts {
		if !m.Door {
			m.ContainerUID, m.ContainerGID = uid, gid
		}
		mounts[i] = m
	}
	record.Mounts = mounts
	return nil
}

func (l *Launcher) readOptional(ctx context.Context, id, name string) ([]byte, error) {
	data, err := l.Engine.ReadFile(ctx, id, name)
	if errors.Is(err, problem.ErrNotFound) {
		return nil, nil
	}
	return data, err
}

// lookUp resolves "user[:group]", names or numbers, as the runtime does.
func lookUp(name string, passwd, groups []byte) (uid, gid int, err error) {
	user, group, hasGroup := strings.Cut(name, ":")
	uid, uerr := strconv.Atoi(user)
	known := uerr == nil
	for _, f := range entries(passwd, 4) {
		id, e1 := strconv.Atoi(f[2])
		primary, e2 := strconv.Atoi(f[3])
		if e1 == nil && e2 == nil && (f[0] == user || uerr == nil && id == uid) {
			uid, gid, known = id, primary, true
			break
		}
	}
	if !known {
		return 0, 0, unknownUser(fmt.Sprintf("its image has no user %q", user))
	}
	if !hasGroup {
		return uid, gid, nil
	}
	if id, err := strconv.Atoi(group); err == nil {
		return uid, id, nil
	}
	for _, f := range entries(groups, 3) {
		if id, err := strconv.Atoi(f[2]); err == nil && f[0] == group {
			return uid, id, nil
		}
	}
	return 0, 0, unknownUser(fmt.Sprintf("its image has no group %q", group))
}

func unknownUser(why string) error {
	return &problem.Error{What: "Container not created", Why: problem.Because(problem.ErrInvalid, why), Next: "Give --user as UID:GID; in a devcontainer.json, a remoteUser that the image has."}
}

// entries returns the lines of a passwd or group file that have at least n
// fields.
func entries(file []byte, n int) [][]string {
	var all [][]string
	for line := range strings.Lines(string(file)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) >= n {
			all = append(all, f)
		}
	}
	return all
}

// writePerson writes the owner into the container's own layer: passwd, group
// and a home, so that programs know who they run as.
func (l *Launcher) writePerson(ctx context.Context, record container.Record, who account.Account) error {
	passwd, err := l.readOptional(ctx, record.ContainerID, "/etc/passwd")
	if err != nil {
		return err
	}
	groups, err := l.readOptional(ctx, record.ContainerID, "/etc/group")
	if err != nil {
		return err
	}
	home := "/home/" + who.Name
	if strings.ContainsAny(who.Name, "/:\n") {
		return &problem.Error{What: "Container not created", Why: problem.Because(problem.ErrInvalid, fmt.Sprintf("the login name %q can't be written to a passwd file", who.Name))}
	}
	shell := "/bin/sh"
	bash, err := l.Engine.Exists(ctx, record.ContainerID, "/bin/bash")
	if err != nil {
		return err
	}
	if bash {
		shell = "/bin/bash"
	}
	entry := fmt.Sprintf("%s:x:%d:%d::%s:%s\n", who.Name, who.UID, who.GID, home, shell)
	files := []container.File{
		{Path: "/etc/passwd", Data: withEntry(passwd, who.Name, who.UID, entry), Mode: 0o644},
		{Path: "/etc/group", Data: groupFile(groups, who), Mode: 0o644},
		{Path: home, Dir: true, Mode: 0o700, UID: who.UID, GID: who.GID},
	}
	if record.Plain() {
		// A remapped engine can't give a file to the host's uid; nobody but the
		// container's own processes gets at it.
		files[2].Mode = 0o777
	}
	return l.Engine.WriteFiles(ctx, record.ContainerID, files)
}

// withEntry returns the file with entry in the place of every line of the
// same name or number.
func withEntry(file []byte, name string, id int, entry string) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(file)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if f[0] == "" || f[0] == name || len(f) > 2 && f[2] == strconv.Itoa(id) {
			continue
		}
		out.WriteString(strings.TrimRight(line, "\n") + "\n")
	}
	out.WriteString(entry)
	return out.Bytes()
}

func groupFile(file []byte, who account.Account) []byte {
	for _, g := range who.Groups {
		members := who.Name
		if g.GID == who.GID {
			members = ""
		}
		name := strings.ReplaceAll(strings.ReplaceAll(g.Name, ":", "_"), "\n", "_")
		file = withEntry(file, name, g.GID, fmt.Sprintf("%s:x:%d:%s\n", name, g.GID, members))
	}
	return file
}
