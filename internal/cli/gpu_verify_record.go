package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// A verification is the record of what was tried on a card.
type verification struct {
	Host        string     `json:"host"`
	Kernel      string     `json:"kernel"`
	Version     string     `json:"ds01"`
	Engine      string     `json:"engine"`
	Isolation   string     `json:"isolation"`
	Cgroup      int        `json:"cgroup_version"`
	Provider    string     `json:"gpu_provider"` // "nvml" or "sim"
	Driver      string     `json:"driver"`
	Card        int        `json:"card"`
	UUID        string     `json:"uuid"`
	Model       string     `json:"model"`
	Before      string     `json:"before"` // how it was cut
	Began       time.Time  `json:"began"`
	Ended       time.Time  `json:"ended"`
	Checks      []verified `json:"checks"`
	Interrupted bool       `json:"interrupted"`
	Restored    bool       `json:"restored"`        // cut as before, and drained
	Left        string     `json:"left,omitempty"`  // what isn't as before
	Moved       bool       `json:"moved,omitempty"` // its instances are as many as before, and stand elsewhere
	Passed      bool       `json:"passed"`
	before      apitype.MIGCard
}

// What came of a check.
const (
	resultOK      = "ok"
	resultFailed  = "failed"
	resultSkipped = "not tried"
)

// A verified is one check.
type verified struct {
	Name         string `json:"name"`
	Result       string `json:"result"`
	Wanted       string `json:"wanted,omitempty"`
	Saw          string `json:"saw"` // of one that wasn't tried: why
	Milliseconds int64  `json:"milliseconds"`
}

// begin writes down what is tried.
func (v *verifier) begin(ctx context.Context, card apitype.MIGCard) {
	host, _ := os.Hostname() // "" says as much
	var u unix.Utsname
	_ = unix.Uname(&u) // the same
	v.record = verification{
		Host: host, Kernel: unix.ByteSliceToString(u.Release[:]), Card: card.Card, UUID: card.UUID, Model: card.Model,
		Before: describeCard(card), Began: v.app.now().UTC().Truncate(time.Second), Checks: []verified{}, Driver: "simulated", before: card,
	}
	if version, err := v.c.Version(ctx); err == nil {
		v.record.Version, v.record.Engine, v.record.Isolation = version.Version, version.EngineVersion, version.Isolation
		v.record.Cgroup, v.record.Provider = version.CgroupVersion, version.GPUProvider
	}
	if v.record.Provider != "sim" {
		text, err := os.ReadFile("/sys/module/nvidia/version")
		v.record.Driver = cmp.Or(strings.TrimSpace(string(text)), "unknown: "+fmt.Sprint(err))
	}
}

func (r *verification) skip(name, why string) verified {
	one := verified{Name: name, Result: resultSkipped, Saw: why}
	r.Checks = append(r.Checks, one)
	return one
}

// end writes down how it ended. err is why the card isn't as it was.
func (v *verifier) end(restored error) {
	r := &v.record
	r.Ended = v.app.now().UTC().Truncate(time.Second)
	switch {
	case restored != nil:
		r.Left = problem.OneLine(restored)
	case !v.card.Drained:
		r.Left = "somebody undrained it meanwhile"
	default:
		r.Restored, r.Moved = true, !slices.Equal(places(r.before), places(v.card))
	}
	failed := slices.ContainsFunc(r.Checks, func(c verified) bool { return c.Result == resultFailed })
	tried := slices.ContainsFunc(r.Checks, func(c verified) bool { return c.Result == resultOK })
	r.Passed = r.Restored && tried && !failed && !r.Interrupted
}

// places are where the instances of a card stand.
func places(c apitype.MIGCard) []string {
	all := []string{}
	for _, in := range c.Instances {
		all = append(all, fmt.Sprintf("%s at %d", in.Profile, in.Start))
	}
	slices.Sort(all)
	return all
}

// verdict says in words what came of it.
func (r *verification) verdict() string {
	n := map[string]int{}
	for _, c := range r.Checks {
		n[c.Result]++
	}
	words := fmt.Sprintf("%d checks passed, %d failed, %d not tried", n[resultOK], n[resultFailed], n[resultSkipped])
	if r.Interrupted {
		words += "; interrupted"
	}
	switch {
	case !r.Restored:
		words += "; the card is NOT as it was: " + r.Left
	case r.Moved:
		words += "; the card is cut as it was, its instances stand elsewhere and are new ones, and it is drained as it was"
	default:
		words += "; the card is cut as it was, and drained as it was"
	}
	return words + "."
}

// markdown is the record as it is kept.
func (r *verification) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# GPU %d of %s, %s\n\n%s\n\n", r.Card, r.Host, r.Began.Format(time.RFC3339), r.verdict())
	for _, row := range [][2]string{
		{"card", r.Model + ", " + r.UUID},
		{"driver", r.Driver + " (" + r.Provider + ")"},
		{"as it was", r.Before},
		{"ds01", r.Version},
		{"engine", fmt.Sprintf("%s, isolation %s, cgroup v%d", r.Engine, r.Isolation, r.Cgroup)},
		{"kernel", r.Kernel},
		{"took", r.Ended.Sub(r.Began).String()},
	} {
		fmt.Fprintf(&b, "- %s: %s\n", row[0], row[1])
	}
	b.WriteString("\n| check | result | wanted | seen | ms |\n|---|---|---|---|---|\n")
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d |\n", cell(c.Name), c.Result, cell(c.Wanted), cell(c.Saw), c.Milliseconds)
	}
	return b.String()
}

// cell is a text that doesn't end the cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// keepRecord writes the record into a folder, and says where.
func (a *app) keepRecord(r verification, dir string, asJSON bool) error {
	path := filepath.Join(dir, fmt.Sprintf("verify-%s-%d-%s.md", r.Host, r.Card, r.Began.Format("20060102T150405Z")))
	if err := os.WriteFile(path, []byte(r.markdown()), 0o644); err != nil { //nolint:gosec // to be read
		fmt.Fprint(a.Out, r.markdown())
		return fmt.Errorf("write the record: %w", err)
	}
	if asJSON {
		return a.printJSON(r)
	}
	fmt.Fprintf(a.Out, "GPU %d: %s\nThe record is %s.\n", r.Card, r.verdict(), path)
	return nil
}
