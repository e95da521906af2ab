package reconciler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/gpu"
)

// advance goes through the queue and tells people what is news for them. Who
// has no terminal open is told there once they have one. It returns when the
// queue is to be looked at next; zero means nothing is kept for anybody.
func (r *Reconciler) advance(ctx context.Context) time.Time {
	next, err := r.Ledger.Advance(ctx)
	if err != nil {
		r.Log.ErrorContext(ctx, "queue not looked at", "error", err)
		return r.Now().Add(planAfter)
	}
	for _, n := range r.Ledger.Notices() {
		subject, text := words(n)
		if r.Tell != nil && !n.By(gpu.OnTerminal) {
			terminals, err := r.Tell(n.UID, "ds01: "+text)
			r.reached(ctx, n, gpu.OnTerminal, terminals > 0, err)
		}
		if r.Mail != nil && !n.By(gpu.ByMail) {
			r.reached(ctx, n, gpu.ByMail, r.Mail(n.Login, subject, text), nil)
		}
	}
	return next
}

// reached remembers that a notice has reached somebody, if it has.
func (r *Reconciler) reached(ctx context.Context, n allocator.Notice, by gpu.Way, yes bool, err error) {
	if err == nil && yes {
		r.Log.InfoContext(ctx, "told", "uid", n.UID, "notice", n.Key, "by_mail", by == gpu.ByMail)
		err = r.Ledger.SetTold(ctx, n, by)
	}
	if err != nil {
		r.Log.WarnContext(ctx, "nobody told", "uid", n.UID, "notice", n.Key, "error", err)
	}
}

// words are what a person reads.
func words(n allocator.Notice) (subject, text string) {
	switch {
	case n.Ailment != nil:
		return unwell(*n.Ailment)
	case n.Ticket == nil:
		return reserved(n)
	}
	return kept(n.Ticket, n.LastCall)
}

func kept(t *gpu.Ticket, last bool) (subject, text string) {
	slots := make([]string, len(t.Devices))
	for i, d := range t.Devices {
		slots[i] = d.Slot
	}
	how := "ds01 container deploy, or docker run --gpus"
	if t.Claim != "" {
		how = "ds01 container start"
	}
	subject = fmt.Sprintf("GPU %s is kept for you until %s", strings.Join(slots, ", "), t.Until.Local().Format("15:04"))
	first, then := "it is your turn", ""
	if last {
		first, then = "it is still your turn", ", and then goes to who is next"
	}
	return subject, fmt.Sprintf("%s: %s%s. Use it with %s; give it up with ds01 gpu queue leave %s.", first, subject, then, how, t.ID)
}

// reserved is what somebody reads who holds what is reserved for somebody else.
func reserved(n allocator.Notice) (subject, text string) {
	slots := make([]string, len(n.Warnings))
	for i, w := range n.Warnings {
		slots[i] = w.Device.Slot
	}
	r := n.Warnings[0].Reservation
	subject = fmt.Sprintf("GPU %s of your container %s is reserved for %s from %s",
		strings.Join(slots, ", "), n.Name, r.Login, r.From.Local().Format("2006-01-02 15:04"))
	why := ""
	if r.Reason != "" {
		why = " (" + r.Reason + ")"
	}
	return subject, subject + why + ". Please be done by then; nothing ends your work. ds01 gpu reservations shows what is reserved."
}
