package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// A Finding is one value that one rule came to, as JSON.
type Finding struct {
	Rule  string // "teaching.rego:12"
	Value []byte
}

// A Denial is why a rule says no.
type Denial struct{ Rule, Message string }

// A Verdict is what all rules say together, in the order of the rules. The
// zero Verdict has nothing against the request.
type Verdict struct {
	Denials     []Denial
	Tightenings []admission.Tightening
}

// maxMessage bounds what a rule says, in bytes; maxFindings how much.
const (
	maxMessage  = 500
	maxFindings = 100
)

// Read reads what rules denied and tightened. Whatever isn't of the form that
// is documented is an error: nobody knows what was meant.
func Read(denied, tightened []Finding) (Verdict, error) {
	if len(denied)+len(tightened) > maxFindings {
		return Verdict{}, fmt.Errorf("the rules have %d answers, over %d", len(denied)+len(tightened), maxFindings)
	}
	var v Verdict
	for _, f := range denied {
		var message string
		if err := json.Unmarshal(f.Value, &message); err != nil || clip(message) == "" {
			return Verdict{}, fmt.Errorf("%s: deny contains %s, which is no message", f.Rule, clip(string(f.Value)))
		}
		v.Denials = append(v.Denials, Denial{f.Rule, clip(message)})
	}
	for _, f := range tightened {
		t, err := readTightening(f)
		if err != nil {
			return Verdict{}, fmt.Errorf("%s: tighten contains %s: %w", f.Rule, clip(string(f.Value)), err)
		}
		v.Tightenings = append(v.Tightenings, t)
	}
	slices.SortFunc(v.Denials, func(a, b Denial) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	slices.SortStableFunc(v.Tightenings, func(a, b admission.Tightening) int { return cmp.Compare(a.Rule, b.Rule) })
	return v, nil
}

// tightening is a Tightening as rules write it.
type tightening struct {
	Message         string   `json:"message" doc:"why, for the person; must be there"`
	Memory          *int64   `json:"memory" doc:"bytes at most; units.parse_bytes(\"4GiB\") makes them"`
	CPUs            *float64 `json:"cpus" doc:"CPUs at most, 0.01 or more"`
	PidsLimit       *int64   `json:"pids_limit" doc:"processes at most"`
	ShmSize         *int64   `json:"shm_size" doc:"bytes of /dev/shm at most"`
	Network         *string  `json:"network" doc:"\"none\": no network but its own loopback. A request that publishes ports is refused then"`
	NoNewPrivileges *bool    `json:"no_new_privileges" doc:"true: programs like sudo gain nothing"`
	CapDrop         []string `json:"cap_drop" doc:"capabilities that it is to lose beside those it has lost, without CAP_"`
}

func readTightening(f Finding) (admission.Tightening, error) {
	var in tightening
	if err := json.Unmarshal(f.Value, &in, json.RejectUnknownMembers(true)); err != nil {
		return admission.Tightening{}, err
	}
	t := admission.Tightening{Rule: f.Rule, Message: clip(in.Message), CapDrop: in.CapDrop}
	for _, n := range []struct {
		name string
		from *int64
		to   *int64
	}{{"memory", in.Memory, &t.Memory}, {"pids_limit", in.PidsLimit, &t.Pids}, {"shm_size", in.ShmSize, &t.ShmSize}} {
		if n.from == nil {
			continue
		}
		if *n.to = *n.from; *n.from <= 0 {
			return t, fmt.Errorf("%s: %d is no bound", n.name, *n.from)
		}
	}
	if in.CPUs != nil {
		if !(*in.CPUs >= 0.01 && *in.CPUs <= 1e6) {
			return t, fmt.Errorf("cpus: %v is no number of CPUs from 0.01 on", *in.CPUs)
		}
		t.CPUs = quantity.CPUs(*in.CPUs * float64(quantity.OneCPU))
	}
	if t.NoNetwork = in.Network != nil; t.NoNetwork && *in.Network != "none" {
		return t, errors.New(`network can only be "none"`)
	}
	if t.NoNewPrivileges = in.NoNewPrivileges != nil; t.NoNewPrivileges && !*in.NoNewPrivileges {
		return t, errors.New("no_new_privileges can only be true")
	}
	return t, t.Check()
}

// clip returns a text that fits a line: rules may quote what people write.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= maxMessage {
		return strings.TrimSpace(text)
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}

// Denied is the code of a refusal by the site's policy.
const Denied = "SITE_POLICY"

// Refusal returns the error of what v denies, of kind problem.ErrDenied, or
// nil; what says what isn't done.
func (v Verdict) Refusal(what string) error {
	if len(v.Denials) == 0 {
		return nil
	}
	texts := make([]string, len(v.Denials))
	for i, d := range v.Denials {
		texts[i] = fmt.Sprintf("%s (%s)", strings.TrimRight(d.Message, "."), d.Rule)
	}
	return refused(what, strings.Join(texts, "; "), "It is a rule of this site; your administrators know why, and can change it.")
}

// Unjudged returns the error of a request that no rule could judge.
func Unjudged(what string, err error) error {
	return refused(what, "it can't be judged, so nobody may: "+err.Error(), "Tell your administrators: 'ds01 doctor' and the daemon's log say more.")
}

func refused(what, why, next string) error {
	return &problem.Error{What: what, Why: problem.Because(problem.ErrDenied, "site policy: "+why), Next: next, Code: Denied}
}
