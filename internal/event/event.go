// Package event knows the audit log's lines as plain values: who asked for
// what, what was decided and why, each line tied to the one before by its
// hash. It reads and writes lines and says where a chain is broken; it opens
// no file and asks nobody for the time.
package event

import (
	"strings"
	"time"
	"unicode/utf8"
)

// A Door is where a request came in.
type Door string

// Doors.
const (
	Gateway Door = "gateway" // the Docker API
	API     Door = "api"     // the API of the ds01 commands
	Daemon  Door = "ds01"    // the daemon's own doing; nobody asked
)

// A Decision is what became of a request.
type Decision string

// Decisions. What is allowed goes well unless a failed event of the same
// request, which names it in Of, says otherwise.
const (
	Allowed Decision = "allowed" // decided, and written before anything was changed
	Denied  Decision = "denied"  // refused; nothing was changed
	Failed  Decision = "failed"  // it could not be decided, or not be done
)

// An Event is one line of the audit log. Absent keys have their zero value.
// It never holds values of environment variables, registry logins, what went
// through a stream, or more of a command than its first word.
type Event struct {
	Seq      uint64    `json:"seq"`  // 1, 2, 3 … over all files of a log
	Time     time.Time `json:"time"` // UTC
	Door     Door      `json:"door"`
	Decision Decision  `json:"decision"`
	Action   string    `json:"action"`         // "container create", "release", …
	Route    string    `json:"route,omitzero"` // "POST /containers/create"
	Why      string    `json:"why,omitzero"`
	Status   int       `json:"status,omitzero"` // HTTP status of a refusal or failure
	Of       uint64    `json:"of,omitzero"`     // the allowed event that failed
	Times    int       `json:"times,omitzero"`  // how many events this one stands for, 0: itself

	UID      int    `json:"uid"` // the kernel's word; through a container, its owner
	User     string `json:"user,omitzero"`
	GID      int    `json:"gid"`
	PID      int    `json:"pid,omitzero"`
	Exe      string `json:"exe,omitzero"`       // hint: what the process ran when the event was written
	LoginUID *int   `json:"login_uid,omitzero"` // hint: who had logged in, before sudo and su
	Origin   string `json:"origin,omitzero"`    // where the process came from: "terminal", "ssh-command", "cron", …
	Through  string `json:"through,omitzero"`   // the engine's id of the container that spoke for the user

	Object    string   `json:"object,omitzero"`    // a container's name, else what was asked for
	Container string   `json:"container,omitzero"` // the engine's id
	Claim     string   `json:"claim,omitzero"`     // ds01's id of the container
	Owner     string   `json:"owner,omitzero"`     // whose it is, where it isn't the user's
	OwnerUID  *int     `json:"owner_uid,omitzero"`
	Image     string   `json:"image,omitzero"`
	GPUs      string   `json:"gpus,omitzero"`    // what was asked for: "2", "all", "2x1g.10gb,full"
	Devices   []string `json:"devices,omitzero"` // slots that were granted
	Mounts    []string `json:"mounts,omitzero"`  // directories of the host
	Command   string   `json:"command,omitzero"` // its first word

	Prev string `json:"prev"`          // hash of the line before
	Hash string `json:"hash,omitzero"` // hash of this line without it
}

// Bounds of what a client can make one line hold.
const (
	maxText = 1 << 10
	maxList = 64
)

// clip returns e with texts that fit a line and are valid UTF-8.
func (e Event) clip() Event {
	for _, text := range []*string{&e.Action, &e.Route, &e.Why, &e.User, &e.Exe, &e.Through, &e.Object, &e.Container, &e.Claim, &e.Owner, &e.Image, &e.GPUs, &e.Command} {
		*text = clip(*text)
	}
	e.Devices, e.Mounts = clipAll(e.Devices), clipAll(e.Mounts)
	e.Time = e.Time.UTC().Round(0)
	return e
}

func clip(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	text = text[:maxText]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + "…"
}

func clipAll(texts []string) []string {
	var clipped []string
	for i, text := range texts {
		if i == maxList {
			return append(clipped, "…")
		}
		clipped = append(clipped, clip(text))
	}
	return clipped
}

// FirstWord returns what is recorded of a command: its first word, and of an
// assignment only the name.
func FirstWord(command []string) string {
	if len(command) == 0 {
		return ""
	}
	fields := strings.Fields(command[0])
	if len(fields) == 0 {
		return ""
	}
	if name, _, assigned := strings.Cut(fields[0], "="); assigned {
		return name + "=…"
	}
	return fields[0]
}

// Reference returns an image reference without a login in it.
func Reference(image string) string {
	at := strings.LastIndex(image, "@")
	if at >= 0 && !strings.HasPrefix(image[at:], "@sha256:") {
		return image[at+1:]
	}
	if before, digest, ok := strings.Cut(image, "@sha256:"); ok {
		return before[strings.LastIndex(before, "@")+1:] + "@sha256:" + digest
	}
	return image
}
