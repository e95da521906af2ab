package redteam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Verdict is what became of one vector.
type Verdict string

// Verdicts. Only an effect is a hole; an answer that nobody expected is worth
// a look.
const (
	OK      Verdict = "ok"
	Effect  Verdict = "EFFECT"
	Odd     Verdict = "odd"
	Untried Verdict = "not tried"
)

// A Result is one vector's.
type Result struct {
	ID      string   `json:"id"`
	Topics  []int    `json:"topics"`
	Says    string   `json:"says"`
	Verdict Verdict  `json:"verdict"`
	Status  []int    `json:"status"`            // of each answer
	Answer  string   `json:"answer,omitempty"`  // the last refusal's message
	Effects []string `json:"effects,omitempty"` // what happened
	Why     string   `json:"why,omitempty"`     // of odd and not tried
}

// A Report is what became of all vectors.
type Report struct {
	Vectors int      `json:"vectors"`
	Tried   int      `json:"tried"`
	Passed  int      `json:"passed"`
	Effects int      `json:"effects"` // vectors with one
	Results []Result `json:"results"`
}

// add counts a result.
func (r *Report) add(one Result) {
	r.Vectors++
	r.Results = append(r.Results, one)
	if one.Verdict != Untried {
		r.Tried++
	}
	switch one.Verdict {
	case OK:
		r.Passed++
	case Effect:
		r.Effects++
	case Odd, Untried:
	}
}

// Options say which vectors run.
type Options struct {
	Lab    bool                // also those that would harm a host whose gateway is broken
	Chosen func(v Vector) bool // nil: all
	Tell   func(Result)        // hears of each at once; may be nil
}

// Run tries the vectors on a stage, one after the other, and takes everything
// away that it made. An error says that it could not be tried, or that
// something is left.
func Run(ctx context.Context, stage Stage, o Options) (report Report, err error) {
	s, err := prepare(ctx, stage)
	if s != nil {
		defer func() { err = errors.Join(err, s.leave(ctx)) }()
	}
	if err != nil {
		return report, err
	}
	for _, v := range Vectors() {
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
		if o.Chosen != nil && !o.Chosen(v) {
			continue
		}
		result, err := s.attack(ctx, v, o.Lab)
		if err != nil {
			return report, fmt.Errorf("vector %s: %w", v.ID, err)
		}
		report.add(result)
		if o.Tell != nil {
			o.Tell(result)
		}
	}
	if late := s.late(ctx); late.Verdict != OK {
		report.add(late)
		if o.Tell != nil {
			o.Tell(late)
		}
	}
	return report, nil
}

// late looks for what came of an attack after its answer.
func (s *Scene) late(ctx context.Context) Result {
	r := Result{ID: "afterwards", Says: "what came of any vector after its answer", Verdict: OK}
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	if r.Effects = s.effects(ctx, nil); len(r.Effects) > 0 {
		r.Verdict = Effect
	}
	return r
}

// attack tries one vector and looks what came of it.
func (s *Scene) attack(ctx context.Context, v Vector, lab bool) (Result, error) {
	r := Result{ID: v.ID, Topics: v.Topics, Says: v.Says, Verdict: OK}
	if missing := s.facts.lacks(v); len(missing) > 0 {
		r.Verdict, r.Why = Untried, "there is no "+strings.Join(missing, ", no ")
		return r, nil
	}
	if v.LabOnly != "" && !lab {
		r.Verdict, r.Why = Untried, "in a lab only: "+v.LabOnly
		return r, nil
	}
	if why := s.cannot(v); why != "" {
		r.Verdict, r.Why = Untried, why
		return r, nil
	}
	delete(s.facts, "{made}")
	var heard []byte
	for _, step := range v.Steps {
		if strings.Contains(step.Path+step.Raw, "{made}") && s.facts["{made}"] == "" {
			break // nothing came of the step before
		}
		more, err := s.try(ctx, step, &r)
		heard = append(heard, more...)
		if err != nil {
			return r, err
		}
	}
	if r.Effects = s.effects(ctx, heard); len(r.Effects) > 0 {
		r.Verdict = Effect
	}
	if err := s.putBack(ctx, v); err != nil {
		return r, err
	}
	if err := s.sweep(ctx, false); err != nil {
		return r, err
	}
	if r.Verdict == Effect {
		return r, s.again(ctx)
	}
	return r, nil
}

// cannot says why a vector can't be tried on this stage, "" if it can.
func (s *Scene) cannot(v Vector) string {
	for _, step := range v.Steps {
		switch {
		case step.Door == API && s.APISocket == "":
			return "the API's socket isn't known"
		case step.Build != nil && s.Build == nil:
			return "builds by BuildKit take a stock client, which a lab has"
		case step.Rules != "" && s.Rules == nil:
			return "the site's rules are changed in a lab only"
		}
	}
	return ""
}

// putBack undoes what a vector's steps did to the stage itself.
func (s *Scene) putBack(ctx context.Context, v Vector) error {
	if slices.ContainsFunc(v.Steps, func(step Step) bool { return step.Swap }) {
		if err := s.swap(false); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(v.Steps, func(step Step) bool { return step.Rules != "" }) {
		return s.Rules(ctx, "")
	}
	return nil
}

// again lays everything out anew after an effect, so that the next vector
// isn't blamed for it.
func (s *Scene) again(ctx context.Context) error {
	lost := s.leave(ctx)
	fresh, err := prepare(ctx, s.Stage)
	if fresh != nil {
		*s = *fresh
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lay out again after an effect: %w", err), lost)
	}
	return nil
}

// try sends one step and notes what was answered.
func (s *Scene) try(ctx context.Context, step Step, r *Result) ([]byte, error) {
	if step.Swap {
		return nil, s.swap(true)
	}
	if step.Rules != "" {
		return nil, s.Rules(ctx, s.facts.fill(step.Rules))
	}
	if step.Build != nil {
		a, err := s.bake(ctx, *step.Build)
		r.note(step, a)
		return a.heard, err
	}
	socket := s.GatewaySocket
	if step.Door == API {
		socket = s.APISocket
	}
	text := s.facts.request(step)
	answers := make([]answer, max(1, step.Times))
	errs := make([]error, len(answers))
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i], errs[i] = s.say(ctx, s.Attacker, socket, text, step) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil && step.Times == 0 {
		return nil, fmt.Errorf("reach %s: %w", socket, err)
	}
	var heard []byte
	for _, a := range answers {
		r.note(step, a)
		heard = append(heard, a.heard...)
	}
	last := answers[len(answers)-1]
	if step.Save && last.status == http.StatusCreated {
		s.facts["{made}"] = idOf(last.body)
	}
	if step.Run {
		return append(heard, s.watch(ctx, step, last)...), nil
	}
	return heard, nil
}

// note keeps what a step was answered, and whether that was expected.
func (r *Result) note(step Step, a answer) {
	r.Status = append(r.Status, a.status)
	refused := a.status >= http.StatusBadRequest
	if refused {
		r.Answer = messageOf(a.body)
	}
	switch {
	case r.Verdict != OK:
	case !slices.Contains(step.Status, a.status):
		r.Verdict, r.Why = Odd, fmt.Sprintf("status %d, expected one of %v: %s", a.status, step.Status, messageOf(a.body))
	case refused && !strings.Contains(string(a.body), step.Message):
		r.Verdict, r.Why = Odd, fmt.Sprintf("%q isn't in: %s", step.Message, messageOf(a.body))
	}
}

// watch starts the container that a step made, waits for its end and returns
// what it said.
func (s *Scene) watch(ctx context.Context, step Step, a answer) []byte {
	id := s.facts["{made}"]
	if a.status == http.StatusCreated {
		id = idOf(a.body)
		if status, err := s.ask(ctx, s.Attacker, "POST", "/containers/"+id+"/start", "", nil); err != nil || status != http.StatusNoContent {
			return nil
		}
	} else if a.status != http.StatusNoContent || !strings.HasSuffix(step.Path, "/start") {
		return nil
	}
	patience, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := s.ask(patience, s.Attacker, "POST", "/containers/"+id+"/wait", "", nil); err != nil {
		return nil
	}
	var said []byte
	if _, err := s.ask(ctx, s.Attacker, "GET", "/containers/"+id+"/logs?stdout=1&stderr=1", "", &said); err != nil {
		return nil
	}
	return said
}
