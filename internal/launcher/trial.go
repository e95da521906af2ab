package launcher

import (
	"context"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/policy"
)

// A Trial is what would become of a request.
type Trial struct {
	Origins []admission.Origin // of the request as it would be sent; empty where it never came so far
	Image   policy.Image
	Slots   []string // that would be granted
	Told    []string // what its sender would be told beside
	Refusal error    // why nothing would be created, nil: it would
}

// Try decides about a request as Create does and changes nothing: nothing is
// claimed, and the engine is only looked at.
func (l *Launcher) Try(ctx context.Context, r Request) (t Trial) {
	r.trial = true
	asked := r.Body
	p, err := l.plan(ctx, r)
	if err != nil {
		t.Refusal = err
		return t
	}
	t.Image = p.facts.Image
	record, devices, err := l.Ledger.Suppose(l.order(p))
	if err != nil {
		t.Refusal = err
		return t
	}
	t.Slots = record.Slots()
	p.claimed(record, devices)
	p.ask.Notes = append(p.ask.Notes, l.Ledger.Advise(l.order(p), devices)...)
	p.grant.Volumes = l.copyNothing(p.grant.Volumes)
	body, reviewed, refused := l.review(ctx, p)
	sent := reviewed.Body
	if refused != nil {
		t.Refusal, sent = refused, body
	}
	t.Told = append(told(reviewed.Changes), p.ask.Notes...)
	if body.Image == "" { // refused before there was one
		return t
	}
	if t.Origins, err = admission.Origins(p.subject, asked, body, sent, reviewed.Changes); err != nil {
		t.Refusal = err
	}
	return t
}
