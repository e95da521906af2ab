package clienttest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

func (f *Fake) places() []apitype.QueuePlace {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Queue)
}

// joinQueue gives the last place. It has its turn when it is looked at with
// nobody ahead.
func (f *Fake) joinQueue(w http.ResponseWriter, r *http.Request) {
	var want apitype.JoinQueue
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil {
		apiError(w, problem.Because(problem.ErrInvalid, err.Error()))
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := apitype.QueuePlace{
		ID: "0123456789abcdef", User: f.Me.User, UID: f.Me.UID, Own: true, GPUs: want.GPUs, Container: want.Container,
		Position: len(f.Queue) + 1, Slots: []string{}, JoinedAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Reason: "priority 10",
	}
	f.Queue = append(f.Queue, p)
	reply(w, p)
}

// queuePlace lets those ahead go with each look.
func (f *Fake) queuePlace(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.Queue, func(p apitype.QueuePlace) bool { return p.ID == r.PathValue("id") })
	if i < 0 {
		apiError(w, problem.Because(problem.ErrNotFound, "no such place"))
		return
	}
	p := &f.Queue[i]
	if p.Position = max(p.Position-1, 0); p.Position == 0 {
		until := p.JoinedAt.Add(10 * time.Minute)
		p.Slots, p.KeptUntil = []string{"0"}, &until
		f.Full = ""
	}
	reply(w, *p)
}

func (f *Fake) leaveQueue(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.Queue)
	f.Queue = slices.DeleteFunc(f.Queue, func(p apitype.QueuePlace) bool { return p.ID == r.PathValue("id") })
	if len(f.Queue) == before {
		apiError(w, problem.Because(problem.ErrNotFound, "no such place"))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (*Fake) reserve(w http.ResponseWriter, r *http.Request) {
	var want apitype.Reserve
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil {
		apiError(w, problem.Because(problem.ErrInvalid, err.Error()))
		return
	}
	reply(w, apitype.Reservation{
		ID: "0123456789abcdef", User: want.User, Devices: want.Devices, From: want.From, Until: want.Until, Reason: want.Reason, Source: "by admin", Holders: []string{},
	})
}
