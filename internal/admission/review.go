package admission

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
)

// Isolation is how the engine keeps root in a container from being root on
// the host.
type Isolation string

// The two isolation modes. The engine tells which one holds.
const (
	UserNS Isolation = "userns" // the engine remaps user namespaces
	UID    Isolation = "uid"    // it doesn't: containers with host mounts run as the caller
)

// A Subject is who asks, and what binds them.
type Subject struct {
	Account   account.Account
	Limits    limits.Limits // already clamped to the host
	Isolation Isolation
}

// Review returns the request that is sent in place of c: what the subject may
// not ask is refused, what they left open is set to their limits, what only
// ds01 may write is written. Zero never means unlimited. Errors are of kind
// problem.ErrDenied, problem.ErrLimit or problem.ErrInvalid.
func Review(c Create, s Subject, g Grant) (Create, error) {
	for _, step := range []func(*Create, Subject, Grant) error{
		reviewRefused, reviewProcess, reviewHealth, reviewEnv, reviewHost, reviewMemory, reviewCPU, reviewUlimits,
		reviewLabels, reviewStop, reviewTmpfs, grantMounts, grantVolumes, grantDevices, grantNetworks, grantPorts,
	} {
		if err := step(&c, s, g); err != nil {
			return Create{}, err
		}
	}
	return c, nil
}

func reviewRefused(c *Create, _ Subject, _ Grant) error {
	for _, r := range c.refused() {
		if r.value.asked != "" {
			return denied(notCreated, r.field+" can't be set: "+r.why, "Leave the option away.")
		}
	}
	h := &c.HostConfig
	if _, err := readNames(h.Devices); err != nil {
		return err
	}
	if h.CgroupParent != "" || len(h.DeviceCgroupRules) > 0 {
		return denied(notCreated, "HostConfig.CgroupParent and DeviceCgroupRules can't be set: they carry your limits and your devices", "Leave the option away.")
	}
	if h.UsernsMode != "" {
		return denied(notCreated, "HostConfig.UsernsMode can't be set: the user namespace keeps you apart from the host's root", "Leave the option away.")
	}
	return nil
}

func reviewProcess(c *Create, s Subject, g Grant) error {
	dir := c.WorkingDir
	if dir == "" {
		dir = g.ImageDir // an image can be made for the same trick
	}
	if err := checkWorkingDir(notCreated, dir); err != nil {
		return err
	}
	for _, group := range c.HostConfig.GroupAdd {
		if (s.Isolation == UID || g.plain()) && !ownGroup(s.Account, group) {
			return denied(notCreated, fmt.Sprintf("--group-add %s: you aren't in that group", group), "Add groups of your own only.")
		}
	}
	return nil
}

func ownGroup(a account.Account, group string) bool {
	return slices.ContainsFunc(a.Groups, func(g account.Group) bool { return group == strconv.Itoa(g.GID) })
}

// checkHost refuses what reaches into the host's or others' namespaces.
func checkHost(c *Create) error {
	h := &c.HostConfig
	for _, f := range []struct {
		field, value string
		allowed      []string
	}{
		{"HostConfig.IpcMode", h.IpcMode, []string{"", "private", "none"}},
		{"HostConfig.CgroupnsMode", h.CgroupnsMode, []string{"", "private"}},
		{"HostConfig.LogConfig", h.LogConfig.Type, []string{"", "json-file", "none"}},
	} {
		if !slices.Contains(f.allowed, f.value) {
			return denied(notCreated, fmt.Sprintf("%s: %q is not served", f.field, f.value),
				"Leave the option away, or use one of: "+strings.Join(f.allowed[1:], ", ")+".")
		}
	}
	for _, o := range h.SecurityOpt {
		if o != "no-new-privileges" && o != "no-new-privileges:true" && o != "no-new-privileges=true" {
			return denied(notCreated, fmt.Sprintf("--security-opt %s loosens what keeps containers apart", o), "Leave it away.")
		}
	}
	for _, line := range h.ExtraHosts {
		if err := checkExtraHost(line); err != nil {
			return err
		}
	}
	if h.OomScoreAdj < 0 {
		return denied(notCreated, "a negative --oom-score-adj makes others pay for your memory", "Leave it away.")
	}
	return nil
}

// checkExtraHost takes NAME:ADDRESS, one line of the container's own /etc/hosts.
func checkExtraHost(line string) error {
	name, address, _ := strings.Cut(line, ":")
	if address == "host-gateway" {
		return denied(notCreated, "--add-host "+name+":host-gateway leads to the host's own services, which trust who is on this machine",
			"Run the service in a container of yours: containers on one network find each other by name.")
	}
	if parsed, err := netip.ParseAddr(address); err != nil || parsed.Zone() != "" || !validID.MatchString(name) {
		return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("--add-host %q isn't NAME:ADDRESS", line), "Write a host's name and its IP address.")
	}
	return nil
}

func reviewHost(c *Create, _ Subject, g Grant) error {
	if err := checkHost(c); err != nil {
		return err
	}
	c.NetworkingConfig = NetworkingConfig{}
	h := &c.HostConfig
	h.RestartPolicy, h.Runtime = RestartPolicy{Name: "no"}, "" // ds01 starts it again; the owner's wish is in the record
	if h.LogConfig.Config = nil; h.LogConfig.Type != "none" {
		// A container's log never fills the disk.
		h.LogConfig = LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}}
	}
	h.CapDrop = append(h.CapDrop, "MKNOD")
	h.CgroupParent = g.CgroupParent
	h.CgroupnsMode = "private" // on cgroup v1 the engine would show the host's groups
	return nil
}

// reviewLabels writes ds01's labels over the client's and the image's. A
// client may send a reserved key only with the value it would get.
func reviewLabels(c *Create, _ Subject, g Grant) error {
	labels := map[string]string{}
	for k, v := range g.ImageLabels {
		if _, ours := g.Labels[k]; !ours && label.Reserved(k) {
			labels[k] = "" // a label of an image can't be taken away, only emptied
		} else if g.Labels[label.Login] != "" && strings.Contains(v, ",") {
			labels[k] = label.Clean(v) // mlc list breaks on it
		}
	}
	for k, v := range c.Labels {
		if label.Reserved(k) && g.Labels[k] != v {
			return denied(notCreated, fmt.Sprintf("label %q is written by ds01 only", k), "Use another label key.")
		}
		labels[k] = v
	}
	maps.Copy(labels, g.Labels)
	c.Labels = labels
	return nil
}
