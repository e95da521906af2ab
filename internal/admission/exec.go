package admission

import (
	"fmt"
	"path"
	"strings"

	"ds01.dev/ds01/internal/account"
)

// ExecBody is the body of POST /containers/{id}/exec.
type ExecBody struct {
	Container    Ignored  `json:"Container,omitzero"` // the SDK for Python says it once more
	User         string   `json:"User,omitzero"`
	Privileged   Unset    `json:"Privileged,omitzero"`
	Tty          bool     `json:"Tty,omitzero"`
	ConsoleSize  *[2]uint `json:"ConsoleSize,omitzero"`
	AttachStdin  bool     `json:"AttachStdin,omitzero"`
	AttachStdout bool     `json:"AttachStdout,omitzero"`
	AttachStderr bool     `json:"AttachStderr,omitzero"`
	Detach       Ignored  `json:"Detach,omitzero"`
	DetachKeys   string   `json:"DetachKeys,omitzero"`
	Env          []string `json:"Env,omitzero"`
	WorkingDir   string   `json:"WorkingDir,omitzero"`
	Cmd          Words    `json:"Cmd,omitzero"`
}

// ExecStartBody is the body of POST /exec/{id}/start.
type ExecStartBody struct {
	Detach      bool     `json:"Detach,omitzero"`
	Tty         bool     `json:"Tty,omitzero"`
	ConsoleSize *[2]uint `json:"ConsoleSize,omitzero"`

	// dockerode sends its own options along.
	Hijack Ignored `json:"hijack,omitzero"`
	Stdin  Ignored `json:"stdin,omitzero"`
}

// ReviewExec reads and reviews the body of an exec request in a container
// that has host mounts or not.
func ReviewExec(data []byte, who account.Account, isolation Isolation, mounts bool) (ExecBody, error) {
	const what = "Command not run"
	var e ExecBody
	if err := decode(what, data, &e); err != nil {
		return ExecBody{}, err
	}
	if e.Privileged.asked != "" {
		return ExecBody{}, denied(what, "Privileged: a privileged command is root on the host", "Leave --privileged away.")
	}
	if err := checkWorkingDir(what, e.WorkingDir); err != nil {
		return ExecBody{}, err
	}
	e.Env = withoutGPUVariables(e.Env)
	if isolation == UID && mounts {
		own := fmt.Sprintf("%d:%d", who.UID, who.GID)
		if e.User != "" && e.User != own && e.User != fmt.Sprint(who.UID) {
			return ExecBody{}, denied(what,
				fmt.Sprintf("this container has directories of the host, so everything in it runs as you (%s), not as %q", own, e.User),
				"Leave --user away; you may be root in a container where the engine remaps users and the directories' file systems can map ids.")
		}
		e.User = own
	}
	return e, nil
}

// ReviewExecStart reads the body of an exec start.
func ReviewExecStart(data []byte) (ExecStartBody, error) {
	var s ExecStartBody
	err := decode("Command not started", data, &s)
	return s, err
}

// checkWorkingDir keeps the runtime from starting in a leaked descriptor of
// the host (CVE-2024-21626).
func checkWorkingDir(what, dir string) error {
	// The engine cleans the path before it uses it, so look at what it will use.
	if clean := path.Clean("/" + dir); clean == "/proc" || strings.HasPrefix(clean, "/proc/") {
		return denied(what, fmt.Sprintf("WorkingDir: %q lies in /proc", dir), "Choose a directory of the container.")
	}
	return nil
}

// withoutGPUVariables drops what could select a device past the claim.
func withoutGPUVariables(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, e := range env {
		if !strings.HasPrefix(e, "NVIDIA_") {
			kept = append(kept, e)
		}
	}
	return kept
}
