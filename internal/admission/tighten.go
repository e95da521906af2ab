package admission

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/quantity"
)

// A Tightening is what one rule of the site's policy takes away from a request.
// It is the whole list of what such a rule may change; for everything else it
// can only refuse. A zero field takes nothing.
type Tightening struct {
	Rule    string // where it is written, "teaching.rego:12"
	Message string // why, for people

	Memory          int64         // bytes at most
	CPUs            quantity.CPUs // at most
	Pids            int64         // processes at most
	ShmSize         int64         // bytes of /dev/shm at most
	NoNetwork       bool          // only its own loopback
	NoNewPrivileges bool          // set-uid programs gain nothing
	CapDrop         []string      // capabilities without CAP_, or ALL
}

// The least that the engine takes.
const (
	leastMemory = 6 << 20
	leastCPUs   = quantity.OneCPU / 100
)

var validCapability = regexp.MustCompile(`^[A-Z][A-Z_]{1,40}$`)

// Check returns what is wrong with t as a sentence, or nil.
func (t Tightening) Check() error {
	switch {
	case t.Message == "":
		return errors.New("a tightening says why in message")
	case t.Memory != 0 && t.Memory < leastMemory:
		return fmt.Errorf("memory: %d bytes are less than the engine's least, %d", t.Memory, leastMemory)
	case t.CPUs != 0 && t.CPUs < leastCPUs:
		return errors.New("cpus: it is less than the engine's least, 0.01")
	case t.Pids < 0:
		return fmt.Errorf("pids_limit: %d is no number of processes", t.Pids)
	case t.ShmSize < 0:
		return fmt.Errorf("shm_size: %d is no number of bytes", t.ShmSize)
	}
	for _, c := range t.CapDrop {
		if !validCapability.MatchString(c) || strings.HasPrefix(c, "CAP_") {
			return fmt.Errorf("cap_drop: %q is no capability such as NET_RAW", c)
		}
	}
	if t.Memory == 0 && t.CPUs == 0 && t.Pids == 0 && t.ShmSize == 0 && !t.NoNetwork && !t.NoNewPrivileges && len(t.CapDrop) == 0 {
		return errors.New("it takes nothing")
	}
	return nil
}

// A Change is one field of a request that a Tightening changed.
type Change struct {
	Field         string // as the policy calls it, "memory"
	Before, After string
	Rule, Message string
}

// String says what changed, in a sentence for the request's sender.
func (c Change) String() string {
	return fmt.Sprintf("ds01: site policy set %s to %s: %s (%s)", c.Field, c.After, c.Message, c.Rule)
}

// DefaultShm is the engine's own /dev/shm, in bytes.
const DefaultShm = 64 << 20

// Tightened is a request after the site's policy.
type Tightened struct {
	Body    Create // reviewed: what is sent
	Grant   Grant
	Changes []Change
}

// Tighten reviews c with the tightenings laid over it and proves, field by
// field, that the outcome is no looser than without, nor than they say. Errors are as Review's;
// one that isn't tighter is of kind problem.ErrDenied.
func Tighten(c Create, s Subject, g Grant, all []Tightening) (Tightened, error) {
	before, err := Review(c, s, g)
	if err != nil || len(all) == 0 {
		return Tightened{Body: before, Grant: g}, err
	}
	var changes []Change
	target := before
	for _, t := range all {
		changes = append(changes, lowerNumbers(&target, t)...)
		more, err := takeAway(&c, &target, &g, t)
		if err != nil {
			return Tightened{}, err
		}
		changes = append(changes, more...)
	}
	h, to := &c.HostConfig, target.HostConfig
	h.Memory, h.MemorySwap, h.MemoryReservation = to.Memory, to.MemorySwap, to.MemoryReservation
	h.NanoCPUs, h.PidsLimit, h.ShmSize = to.NanoCPUs, to.PidsLimit, to.ShmSize
	after, err := Review(c, s, g)
	if err != nil {
		return Tightened{}, err
	}
	if field := cmp.Or(looser(before, after), looser(target, after)); field != "" {
		return Tightened{}, denied(notCreated, "what the site's policy asks for would loosen "+field, "Tell your administrators; nothing was created.")
	}
	return Tightened{Body: after, Grant: g, Changes: changes}, nil
}

// lowerNumbers brings the amounts of a reviewed request within t.
func lowerNumbers(c *Create, t Tightening) (changes []Change) {
	h := &c.HostConfig
	note := func(field, before, after string) {
		changes = append(changes, Change{field, before, after, t.Rule, t.Message})
	}
	if above(h.Memory, t.Memory) {
		note("memory", amount(h.Memory), amount(t.Memory))
		h.MemorySwap = swapWithin(h.Memory, h.MemorySwap, t.Memory)
		h.Memory, h.MemoryReservation = t.Memory, min(h.MemoryReservation, t.Memory)
	}
	if above(h.NanoCPUs, int64(t.CPUs)) {
		note("cpus", cpuText(h.NanoCPUs), cpuText(int64(t.CPUs)))
		h.NanoCPUs = int64(t.CPUs)
	}
	if now := pidsOf(h.PidsLimit); above(now, t.Pids) {
		note("pids_limit", orUnlimited(now, count), count(t.Pids))
		h.PidsLimit = &t.Pids
	}
	if now := shmOf(h.ShmSize); above(now, t.ShmSize) {
		note("shm_size", amount(now), amount(t.ShmSize))
		h.ShmSize = t.ShmSize
	}
	return changes
}

// takeAway takes from a request, and what is granted to it, what is there or
// isn't. reviewed is what it has so far.
func takeAway(c, reviewed *Create, g *Grant, t Tightening) (changes []Change, err error) {
	h, r := &c.HostConfig, &reviewed.HostConfig
	if t.NoNetwork && r.NetworkMode != network.None {
		if len(g.Ports) > 0 {
			return nil, denied(notCreated, fmt.Sprintf("the site's policy leaves it no network, and -p needs one: %s (%s)", t.Message, t.Rule), "Leave -p away.")
		}
		changes = append(changes, Change{"network", r.NetworkMode, network.None, t.Rule, t.Message})
		h.NetworkMode, r.NetworkMode = network.None, network.None
		c.NetworkingConfig, reviewed.NetworkingConfig, g.Networks = NetworkingConfig{}, NetworkingConfig{}, Networks{}
	}
	if t.NoNewPrivileges && !gainsNothing(r.SecurityOpt) {
		changes = append(changes, Change{"no_new_privileges", "false", "true", t.Rule, t.Message})
		h.SecurityOpt = append(slices.Clone(h.SecurityOpt), "no-new-privileges")
		r.SecurityOpt = h.SecurityOpt
	}
	if missing := undropped(r.CapDrop, t.CapDrop); len(missing) > 0 {
		changes = append(changes, Change{"cap_drop", strings.Join(r.CapDrop, " "), strings.Join(append(slices.Clone(r.CapDrop), missing...), " "), t.Rule, t.Message})
		h.CapDrop = append(slices.Clone(h.CapDrop), missing...)
		r.CapDrop = append(slices.Clone(r.CapDrop), missing...)
	}
	return changes, nil
}

// above reports whether an amount, of which zero is without end, is above a
// bound, of which zero is none.
func above(now, bound int64) bool { return bound > 0 && (now <= 0 || now > bound) }

func pidsOf(limit *int64) int64 {
	if limit == nil {
		return 0
	}
	return *limit
}

func shmOf(size int64) int64 {
	if size == 0 {
		return DefaultShm
	}
	return size
}

// swapWithin returns memory and swap together when memory is lowered: as much
// swap as there was.
func swapWithin(memory, both, lowered int64) int64 {
	if memory <= 0 || both <= 0 {
		return max(both, 0)
	}
	return lowered + both - memory
}

// GainsNothing reports whether programs in the container gain no privileges.
func (c Create) GainsNothing() bool { return gainsNothing(c.HostConfig.SecurityOpt) }

func gainsNothing(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "no-new-privileges") })
}

// undropped returns which of the wanted capabilities aren't dropped yet.
func undropped(dropped, wanted []string) (missing []string) {
	has := func(name string) bool { return slices.Contains(dropped, name) || slices.Contains(dropped, "CAP_"+name) }
	for _, w := range wanted {
		if !has("ALL") && !has(w) && !slices.Contains(missing, w) {
			missing = append(missing, w)
		}
	}
	return missing
}

func amount(n int64) string {
	return orUnlimited(n, func(n int64) string { return quantity.ByteSize(n).String() })
}

func cpuText(n int64) string {
	return orUnlimited(n, func(n int64) string { return quantity.CPUs(n).String() })
}

func orUnlimited(n int64, text func(int64) string) string {
	if n <= 0 {
		return "unlimited"
	}
	return text(n)
}

// looser returns the first field in which after may more than before, or "".
// What isn't on the list of a Tightening must be the same.
func looser(before, after Create) string {
	b, a := &before.HostConfig, &after.HostConfig
	for _, f := range []struct {
		name          string
		before, after int64
	}{
		{"memory", b.Memory, a.Memory},
		{"memory and swap", b.MemorySwap, a.MemorySwap},
		{"cpus", b.NanoCPUs, a.NanoCPUs},
		{"pids_limit", pidsOf(b.PidsLimit), pidsOf(a.PidsLimit)},
		{"shm_size", shmOf(b.ShmSize), shmOf(a.ShmSize)},
	} {
		if above(f.after, f.before) {
			return f.name
		}
	}
	sameNetwork := b.NetworkMode == a.NetworkMode && reflect.DeepEqual(before.NetworkingConfig, after.NetworkingConfig)
	alone := a.NetworkMode == network.None && len(after.NetworkingConfig.EndpointsConfig) == 0
	switch {
	case !sameNetwork && !alone:
		return "network"
	case !holds(a.SecurityOpt, b.SecurityOpt):
		return "security options"
	case !holds(a.CapDrop, b.CapDrop):
		return "capabilities"
	case !smallerTmpfs(b.Tmpfs, a.Tmpfs):
		return "tmpfs"
	}
	for _, c := range []*Create{&before, &after} {
		h := &c.HostConfig
		h.Memory, h.MemorySwap, h.MemoryReservation, h.NanoCPUs, h.PidsLimit, h.ShmSize = 0, 0, 0, 0, nil, 0
		h.NetworkMode, c.NetworkingConfig = "", NetworkingConfig{}
		h.SecurityOpt, h.CapDrop, h.Tmpfs = nil, nil, nil
	}
	if !reflect.DeepEqual(before, after) {
		return "another field"
	}
	return ""
}

func holds(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// smallerTmpfs reports whether each tmpfs is there as before, and no larger.
func smallerTmpfs(before, after map[string]string) bool {
	return maps.EqualFunc(before, after, func(b, a string) bool {
		optionsBefore, sizeBefore := splitSize(b)
		optionsAfter, sizeAfter := splitSize(a)
		return slices.Equal(optionsBefore, optionsAfter) && !above(sizeAfter, sizeBefore)
	})
}

func splitSize(text string) (options []string, size int64) {
	for o := range strings.SplitSeq(text, ",") {
		value, sized := strings.CutPrefix(o, "size=")
		if !sized {
			options = append(options, o)
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64) // ours: bytes
		if err != nil {
			return nil, 0
		}
		size = n
	}
	return options, size
}

// Body returns what is stored as if it were asked for.
func (st Stored) Body() Create {
	return Create{
		User: st.config.User, Env: st.config.Env, Cmd: st.config.Cmd, Entrypoint: st.config.Entrypoint, Labels: st.config.Labels,
		HostConfig: st.host,
	}
}

// Updated returns st as it is after u.
func (st Stored) Updated(u Update) Stored {
	h := &st.host
	for _, f := range []struct {
		now *int64
		to  int64
	}{{&h.Memory, u.Memory}, {&h.MemorySwap, u.MemorySwap}, {&h.NanoCPUs, u.NanoCPUs}} {
		if f.to != 0 {
			*f.now = f.to
		}
	}
	if u.PidsLimit != nil {
		h.PidsLimit = u.PidsLimit
	}
	return st
}

// Tighten returns u with what brings the stored configuration within the
// tightenings too. What no update can change must be so already, or the error
// is of kind problem.ErrDenied; what says what isn't done.
func (st Stored) Tighten(what string, u Update, all []Tightening) (Update, []Change, error) {
	was := st.Updated(u).host
	c := Create{HostConfig: was}
	var changes []Change
	for _, t := range all {
		if lacks := st.lasting(t); lacks != "" {
			return u, nil, denied(what, fmt.Sprintf("the site's policy wants %s: %s (%s)", lacks, t.Message, t.Rule),
				"Make it anew: a new container gets it; what lies in mounted directories stays.")
		}
		changes = append(changes, lowerNumbers(&c, t)...)
	}
	h := c.HostConfig
	if h.Memory != was.Memory {
		u.Memory, u.MemorySwap = h.Memory, max(h.MemorySwap, h.Memory) // the engine wants both to fit each other
	}
	if h.NanoCPUs != was.NanoCPUs {
		u.NanoCPUs = h.NanoCPUs
	}
	if pidsOf(h.PidsLimit) != pidsOf(was.PidsLimit) {
		u.PidsLimit = h.PidsLimit
	}
	return u, changes, nil
}

// lasting says what of t a container lacks that was made before, or "".
func (st Stored) lasting(t Tightening) string {
	h := st.host
	switch {
	case above(shmOf(h.ShmSize), t.ShmSize):
		return "a /dev/shm of at most " + amount(t.ShmSize)
	case t.NoNetwork && h.NetworkMode != network.None:
		return "it to have no network"
	case t.NoNewPrivileges && !gainsNothing(h.SecurityOpt):
		return "--security-opt no-new-privileges"
	}
	if missing := undropped(h.CapDrop, t.CapDrop); len(missing) > 0 {
		return "--cap-drop " + strings.Join(missing, ", ")
	}
	return ""
}
