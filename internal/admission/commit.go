package admission

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/label"
)

const notMade = "Image not made"

// CommitBody is the body of POST /commit: what the image says beside what the
// container does.
type CommitBody struct {
	Hostname        Ignored             `json:"Hostname,omitzero"`
	Domainname      Ignored             `json:"Domainname,omitzero"`
	User            string              `json:"User,omitzero"`
	AttachStdin     Ignored             `json:"AttachStdin,omitzero"`
	AttachStdout    Ignored             `json:"AttachStdout,omitzero"`
	AttachStderr    Ignored             `json:"AttachStderr,omitzero"`
	ExposedPorts    map[string]struct{} `json:"ExposedPorts,omitzero"`
	Tty             Ignored             `json:"Tty,omitzero"`
	OpenStdin       Ignored             `json:"OpenStdin,omitzero"`
	StdinOnce       Ignored             `json:"StdinOnce,omitzero"`
	Env             []string            `json:"Env,omitzero"`
	Cmd             Words               `json:"Cmd,omitzero"`
	Healthcheck     *Healthcheck        `json:"Healthcheck,omitzero"`
	ArgsEscaped     Ignored             `json:"ArgsEscaped,omitzero"`
	Image           Ignored             `json:"Image,omitzero"`
	Volumes         map[string]struct{} `json:"Volumes,omitzero"`
	WorkingDir      string              `json:"WorkingDir,omitzero"`
	Entrypoint      Words               `json:"Entrypoint,omitzero"`
	NetworkDisabled Ignored             `json:"NetworkDisabled,omitzero"`
	MacAddress      Ignored             `json:"MacAddress,omitzero"`
	OnBuild         Unset               `json:"OnBuild,omitzero"`
	Labels          map[string]string   `json:"Labels,omitzero"`
	StopSignal      string              `json:"StopSignal,omitzero"`
	StopTimeout     *int                `json:"StopTimeout,omitzero"`
	Shell           Words               `json:"Shell,omitzero"`

	// dockerode writes the query's keys here as well.
	QueryContainer Ignored `json:"container,omitzero"`
	QueryRepo      Ignored `json:"repo,omitzero"`
	QueryTag       Ignored `json:"tag,omitzero"`
	QueryComment   Ignored `json:"comment,omitzero"`
	QueryAuthor    Ignored `json:"author,omitzero"`
	QueryPause     Ignored `json:"pause,omitzero"`
	QueryChanges   Ignored `json:"changes,omitzero"`
}

// ReviewCommit reads and reviews the body of a commit, which may be empty. A
// client's labels lose those that only ds01 writes, and the labels that speak
// of the container's claim are emptied: the image holds no devices.
func ReviewCommit(data []byte) (CommitBody, error) {
	var c CommitBody
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && !bytes.Equal(trimmed, []byte("null")) {
		if err := decode(notMade, data, &c); err != nil {
			return CommitBody{}, err
		}
	}
	if c.OnBuild.asked != "" {
		return CommitBody{}, denied(notMade, "OnBuild: it belongs to builds", "Leave it away.")
	}
	if err := checkWorkingDir(notMade, c.WorkingDir); err != nil {
		return CommitBody{}, err
	}
	if c.Healthcheck != nil {
		if err := c.Healthcheck.check(notMade); err != nil {
			return CommitBody{}, err
		}
	}
	labels := map[string]string{}
	for k, v := range c.Labels {
		if !label.Reserved(k) {
			labels[k] = v
		}
	}
	for _, key := range []string{label.Claim, label.GPUUUIDs, label.GPUSlots} {
		labels[key] = ""
	}
	c.Labels = labels
	return c, nil
}

// CheckChanges reviews the instructions of commit and import: those that the
// engine takes, each on a line of its own, but for what belongs to builds, a
// label that only ds01 writes, and a directory in /proc.
func CheckChanges(changes []string) error {
	for _, change := range changes {
		for line := range strings.Lines(change) {
			if err := checkChange(strings.TrimSpace(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkChange(line string) error {
	if line == "" {
		return nil
	}
	verb, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	verb = strings.ToUpper(verb)
	served := []string{"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
	// What is pieced together could say anything, so these two are plain.
	plain := strings.NewReplacer(`"`, "", "'", "").Replace(rest)
	pieced := strings.ContainsAny(plain, `$\`)
	switch {
	case !slices.Contains(served, verb):
		return denied(notMade, fmt.Sprintf("the change %q is not served", line), "Use one of "+strings.Join(served, ", ")+", each on one line.")
	case strings.HasSuffix(line, `\`):
		return denied(notMade, fmt.Sprintf("the change %q goes on in the next line", line), "Write each change on one line.")
	case (verb == "LABEL" || verb == "WORKDIR") && pieced:
		return denied(notMade, fmt.Sprintf("the change %q holds '$' or a backslash", line), "Write its values out.")
	case verb == "LABEL" && setsReserved(plain):
		return denied(notMade, fmt.Sprintf("the change %q sets a label that only ds01 writes", line), "Use another label key.")
	case verb == "WORKDIR":
		return checkWorkingDir(notMade, strings.TrimSpace(plain))
	}
	return nil
}

// setsReserved reports whether one of the words of a LABEL begins like a key
// that only ds01 writes.
func setsReserved(words string) bool {
	return slices.ContainsFunc(strings.Fields(words), label.Reserved)
}
