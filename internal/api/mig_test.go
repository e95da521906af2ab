package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// cards is two whole cards, of which the first one is what the lab grants.
type cards struct {
	holds  func() gpu.Host
	resets bool
	done   []string
	fails  error // with the second step
	before func()
}

func (c *cards) Look(context.Context) (gpu.Host, error) {
	h := c.holds()
	at := []gpu.Placement{{Start: 0, Size: 4}, {Start: 4, Size: 4}}
	profiles := []gpu.Profile{{Name: "3g.40gb", Slices: 3, MemoryBytes: 40 << 30, Max: 2, Placements: at}, {Name: "7g.80gb", Slices: 7, MemoryBytes: 80 << 30, Max: 1, Placements: []gpu.Placement{{Size: 8}}}}
	h.Cards = []gpu.Card{
		{UUID: "GPU-0", Model: "A100", MemoryBytes: 80 << 30, Profiles: profiles},
		{UUID: "GPU-1", Index: 1, Model: "A100", MemoryBytes: 80 << 30, MIGResets: c.resets},
	}
	return h, nil
}

func (c *cards) Apply(ctx context.Context, l gpu.Layout, ready func([]gpu.CardPlan) ([]gpu.Step, error), told func(gpu.Step)) error {
	h, err := c.Look(ctx)
	if err != nil {
		return err
	}
	plans, err := gpu.PlanLayout(h, l)
	if err != nil {
		return err
	}
	steps, err := ready(plans)
	if err != nil {
		return err
	}
	for i, s := range steps {
		if c.before != nil {
			c.before()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.fails != nil && i == 1 {
			return c.fails
		}
		c.done = append(c.done, s.String())
		told(s)
	}
	return nil
}

func layoutBody(t *testing.T, devices string, skipResets bool) string {
	t.Helper()
	text := "version: v1\nmig-configs:\n  a:\n    - devices: " + devices + "\n      mig-enabled: true\n      mig-devices: {3g.40gb: 2}\n"
	body, err := json.Marshal(apitype.LayoutFile{Name: "f.yaml", YAML: text, SkipResets: skipResets})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// apply asks for a layout and returns the stream of the answer.
func (l *lab) apply(t *testing.T, body string) (told []apitype.MIGProgress) {
	t.Helper()
	resp := l.stream(t, t.Context(), body)
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var p apitype.MIGProgress
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return told
		} else if err != nil {
			t.Fatal(err)
		}
		told = append(told, p)
	}
}

func (l *lab) stream(t *testing.T, ctx context.Context, body string) *http.Response { //nolint:revive // t comes first in tests
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://ds01/v1/mig/apply", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.sockets[admin])
	}}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%s, %s", resp.Status, resp.Header)
	}
	return resp
}

func TestALayoutIsPlannedWithWhoIsInTheWay(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", `{"name":"train","gpus":1}`, nil)
	l.log.take()
	var plan apitype.MIGPlan
	l.must(t, admin, "POST", "/v1/mig/plan", layoutBody(t, "all", false), &plan)
	if plan.Steps != 0 || plan.Refusal == nil || len(plan.Cards) != 2 || len(plan.Cards[1].Steps) != 3 || len(plan.Cards[1].InTheWay) != 0 {
		t.Fatalf("%+v", plan)
	}
	b := plan.Cards[0].InTheWay
	if len(b) != 1 || b[0].User != "alice" || b[0].Container != "train" || b[0].Why != "card 0 is held by alice (train)" || b[0].Slot != "0" || b[0].Next == "" {
		t.Errorf("%+v", b)
	}
	if !strings.Contains(plan.Refusal.Detail, "held by alice (train)") {
		t.Errorf("%+v", plan.Refusal)
	}
	var other apitype.MIGPlan
	l.must(t, admin, "POST", "/v1/mig/plan", layoutBody(t, "[1]", false), &other)
	if other.Steps != 3 || other.Refusal != nil {
		t.Errorf("%+v", other)
	}
	if said := l.log.take(); said != "" {
		t.Errorf("a plan changes nothing, and yet: %s", said)
	}
}

func TestALayoutOfReservedInstancesIsNoted(t *testing.T) {
	l := newLab(t)
	l.ledger.Govern(allocator.Site{
		Standing: func(int) (gpu.Standing, error) { return gpu.Standing{}, nil }, Hold: func() time.Duration { return time.Minute },
		Reserved: func() []gpu.Reservation {
			return []gpu.Reservation{{UID: bob, Login: "bob", Devices: []string{"1.0", "0.2", "1", "11.0"}, From: time.Now()}}
		},
	})
	var plan apitype.MIGPlan
	l.must(t, admin, "POST", "/v1/mig/plan", layoutBody(t, "[1]", false), &plan)
	if len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "1.0 is reserved for bob") || plan.Refusal != nil {
		t.Errorf("%+v", plan)
	}
}

func TestWhatBecomesOfInstancesInOtherModesIsNoted(t *testing.T) {
	l := newLab(t)
	for mode, want := range map[gpu.MIGMode]string{gpu.MIGDynamic: "folded again", gpu.MIGOff: "nobody is granted", gpu.MIGStatic: "", "": ""} {
		l.state.MIGMode = mode
		var plan apitype.MIGPlan
		l.must(t, admin, "POST", "/v1/mig/plan", layoutBody(t, "[1]", false), &plan)
		if len(plan.Notes) != min(len(want), 1) || !strings.Contains(strings.Join(plan.Notes, ""), want) {
			t.Errorf("%s: %+v", mode, plan.Notes)
		}
		body := strings.ReplaceAll(layoutBody(t, "[1]", false), "{3g.40gb: 2}", "{}")
		l.must(t, admin, "POST", "/v1/mig/plan", body, &plan)
		if len(plan.Notes) > 0 {
			t.Errorf("%s, and nothing is made: %+v", mode, plan.Notes)
		}
	}
}

func TestALayoutIsAppliedAndWrittenDown(t *testing.T) {
	l := newLab(t)
	told := l.apply(t, layoutBody(t, "[1]", false))
	if len(told) != 5 || told[0].Plan == nil || told[0].Plan.Steps != 3 || told[1].Step.Do != "enable MIG" || told[3].Step.Start != 0 || !told[4].Done {
		t.Errorf("told %+v", told)
	}
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	events := l.log.events
	if len(events) != 1 || events[0].Action != "gpu mig apply" || events[0].Object != "f.yaml" || !strings.Contains(events[0].GPUs, "enable MIG on card 1; create 3g.40gb at 4 of card 1") {
		t.Errorf("written %+v", events)
	}
}

func TestAnotherPlanThanTheOneAgreedToIsNotCarriedOut(t *testing.T) {
	l := newLab(t)
	var before, seen apitype.MIGPlan
	l.must(t, admin, "POST", "/v1/mig/plan", layoutBody(t, "all", false), &before)
	l.must(t, admin, "POST", "/v1/mig/plan", layoutBody(t, "[1]", false), &seen)
	as := func(digest string) string {
		return strings.Replace(layoutBody(t, "[1]", false), "{", `{"seen":"`+digest+`",`, 1)
	}
	err := l.ask(t, admin, "POST", "/v1/mig/apply", as(before.Digest), nil)
	if wantKind(t, err, problem.ErrConflict); !strings.Contains(err.Error(), "no longer as they were") || len(l.cards.done) > 0 {
		t.Errorf("got %v, %v", err, l.cards.done)
	}
	if l.apply(t, as(seen.Digest)); len(l.cards.done) != 3 {
		t.Errorf("done %v", l.cards.done)
	}
}

func TestALayoutWithSomebodyInTheWayIsRefused(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", `{"name":"train","gpus":1}`, nil)
	l.log.take()
	err := l.ask(t, admin, "POST", "/v1/mig/apply", layoutBody(t, "all", false), nil)
	if wantKind(t, err, problem.ErrConflict); !strings.Contains(problem.OneLine(err), "card 0 is held by alice (train)") || len(l.cards.done) > 0 {
		t.Errorf("got %v, %v", err, l.cards.done)
	}
	if said := l.log.take(); said != "denied root2 gpu mig apply f.yaml" {
		t.Errorf("written %s", said)
	}
}

func TestCardsThatNeedAResetAreLeftOutOnlyWhenAsked(t *testing.T) {
	l := newLab(t)
	l.cards.resets = true
	err := l.ask(t, admin, "POST", "/v1/mig/apply", layoutBody(t, "all", false), nil)
	if wantKind(t, err, problem.ErrConflict); !strings.Contains(problem.OneLine(err), "nvidia-smi --gpu-reset -i 1") || len(l.cards.done) > 0 {
		t.Errorf("got %v", err)
	}
	told := l.apply(t, layoutBody(t, "all", true))
	if len(l.cards.done) != 3 || strings.Contains(strings.Join(l.cards.done, " "), "card 1") || !told[0].Plan.Cards[1].NeedsReset {
		t.Errorf("done %v, told %+v", l.cards.done, told)
	}
}

func TestALayoutThatFailsHalfwayTellsHow(t *testing.T) {
	l := newLab(t)
	l.cards.fails = &problem.Error{What: "Cards not changed", Why: problem.Because(problem.ErrConflict, "somebody was faster"), Next: "Try again."}
	told := l.apply(t, layoutBody(t, "[1]", false))
	if last := told[len(told)-1]; len(told) != 3 || last.Done || last.Error == nil || last.Error.Detail != "somebody was faster" || last.Error.Status != http.StatusConflict {
		t.Errorf("told %+v", told)
	}
	if said := l.log.take(); !strings.Contains(said, "allowed root2 gpu mig apply f.yaml; ") {
		t.Errorf("written %s", said)
	}
}

func TestALayoutIsAppliedToItsEndWhenTheCallerLeaves(t *testing.T) {
	l := newLab(t)
	began, left, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	steps := 0
	l.cards.before = func() {
		if steps++; steps == 2 {
			close(began)
			<-left
		}
		if steps == 3 {
			defer close(ended)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	resp := l.stream(t, ctx, layoutBody(t, "[1]", false))
	<-began
	leave()
	resp.Body.Close()
	close(left)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it ended with its caller")
	}
}

func TestNoLayoutIsAppliedThatIsNotWrittenDown(t *testing.T) {
	l := newLab(t)
	l.cards.holds = func() gpu.Host { // the disk fills up meanwhile
		l.log.mu.Lock()
		defer l.log.mu.Unlock()
		l.log.full = true
		return l.ledger.Holds()
	}
	err := l.ask(t, admin, "POST", "/v1/mig/apply", layoutBody(t, "[1]", false), nil)
	if wantKind(t, err, problem.ErrUnavailable); len(l.cards.done) > 0 {
		t.Errorf("done %v", l.cards.done)
	}
}

func TestTheCardsAreShownWithTheWaysToFillThem(t *testing.T) {
	l := newLab(t)
	var mig apitype.MIG
	l.must(t, admin, "GET", "/v1/mig", "", &mig)
	for _, c := range mig.Cards {
		if c.Instances == nil || len(c.Layouts) != 2 || c.Layouts[0]["3g.40gb"] != 2 || c.Layouts[1]["7g.80gb"] != 1 {
			t.Errorf("%+v", c)
		}
	}
	if len(mig.Cards) != 2 {
		t.Errorf("%+v", mig)
	}
}

func TestAWrongLayoutIsSaidWithItsLine(t *testing.T) {
	l := newLab(t)
	for body, want := range map[string]string{
		`{"name":"f.yaml","yaml":"version: v2"}`: "f.yaml:1: version is",
		layoutBody(t, "[7]", false):              "f.yaml:4: there is no card 7",
	} {
		for _, route := range []string{"/v1/mig/plan", "/v1/mig/apply"} {
			err := l.ask(t, admin, "POST", route, body, nil)
			if wantKind(t, err, problem.ErrInvalid); !strings.Contains(problem.OneLine(err), want) {
				t.Errorf("%s: got %v", route, err)
			}
		}
	}
}
