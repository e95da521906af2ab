package api

import (
	"context"
	"strconv"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

func (c *call) queue() error { return c.answer(c.places()) }

// places returns the queue as the caller may see it.
func (c *call) places() []apitype.QueuePlace {
	all := []apitype.QueuePlace{}
	for _, s := range c.Ledger.Queue() {
		all = append(all, c.place(s))
	}
	return all
}

func (c *call) place(s allocator.Standing) apitype.QueuePlace {
	t := s.Ticket
	p := apitype.QueuePlace{
		User: t.Login, UID: t.UID, Own: t.UID == c.owner.UID, GPUs: t.Request.Devices(), Position: s.Position, Slots: []string{},
		KeptUntil: moment(t.Until), JoinedAt: t.JoinedAt, Begins: moment(s.Begins), Reason: s.Reason, Waits: s.Why, Making: s.Making,
		TimeSeconds: seconds(t.Lasts),
	}
	if t.Request.All || len(t.Request.Parts) > 0 {
		p.Wanted = t.Request.String()
	}
	for _, d := range t.Devices {
		p.Slots = append(p.Slots, d.Slot)
	}
	if p.Own || c.roles.Admin {
		p.ID = t.ID
		if r, ok := c.Ledger.Record(t.Claim); ok {
			p.Container = r.Name
		}
	}
	return p
}

func (c *call) joinQueue() error {
	var want apitype.JoinQueue
	if err := c.read(&want); err != nil {
		return err
	}
	request, err := gpusOf(want.GPUs, want.Wanted)
	if err != nil {
		return err
	}
	if err := checkTime(want.TimeSeconds); err != nil {
		return err
	}
	wish := allocator.Wish{Account: c.owner, Limits: c.Limits(c.owner), Lasts: time.Duration(want.TimeSeconds) * time.Second}
	switch {
	case request != nil:
		wish.Request = *request
	case want.Container == "":
		return &problem.Error{What: "No place taken in the queue", Why: problem.Because(problem.ErrInvalid, "neither GPUs nor a container are named"), Next: "Ask for one GPU at least."}
	}
	if err := c.mayQueue(); err != nil {
		return err
	}
	if want.Container != "" {
		record, err := c.Ledger.Find(c.owner.UID, want.Container)
		if err != nil {
			return err
		}
		c.note(record)
		wish.Claim = record.ID
	}
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	t, err := c.Ledger.Join(c.r.Context(), wish)
	if err != nil {
		return err
	}
	return c.showPlace(t.ID)
}

// mayQueue refuses those who may hold no GPU.
func (c *call) mayQueue() error {
	if groups := c.State().Groups; !account.RolesOf(c.owner, groups).GPU {
		return &problem.Error{
			What: "No place taken in the queue",
			Why:  problem.Because(problem.ErrDenied, c.owner.Name+" may not hold GPUs: not in the group "+groups.GPU),
			Next: "Ask your administrators for membership.",
		}
	}
	return nil
}

func (c *call) showPlace(id string) error {
	for _, s := range c.Ledger.Queue() {
		if s.Ticket.ID == id {
			return c.answer(c.place(s))
		}
	}
	_, err := c.Ledger.Ticket(c.owner.UID, id) // it says that there is none
	return err
}

// longestPoll is how long a look at a place may wait for its turn.
const longestPoll = time.Minute

// queuePlace shows one of the owner's places, after at most ?wait= seconds
// once it has its turn.
func (c *call) queuePlace() error {
	id := c.r.PathValue("id")
	seconds, err := strconv.Atoi(c.r.URL.Query().Get("wait"))
	if err != nil {
		seconds = 0
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), min(time.Duration(max(seconds, 0))*time.Second, longestPoll))
	defer cancel()
	if _, err := c.Ledger.AwaitGrant(ctx, c.owner.UID, id); err != nil {
		return err
	}
	return c.showPlace(id)
}

func (c *call) leaveQueue() error {
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	if err := c.Ledger.Leave(c.r.Context(), c.owner.UID, c.r.PathValue("id")); err != nil {
		return err
	}
	return c.answer(nil)
}

func (c *call) reservations() error {
	holders := map[string][]string{}
	for _, w := range c.Ledger.Warnings() {
		if r, ok := c.Ledger.Record(w.Claim); ok {
			key := w.Reservation.ID + w.Reservation.Source
			holders[key] = append(holders[key], r.Login+" on "+w.Device.Slot)
		}
	}
	all := []apitype.Reservation{}
	for _, r := range c.Ledger.Reservations() {
		all = append(all, describeReservation(r, holders[r.ID+r.Source]))
	}
	return c.answer(all)
}

func describeReservation(r gpu.Reservation, holders []string) apitype.Reservation {
	if holders == nil {
		holders = []string{}
	}
	return apitype.Reservation{
		ID: r.ID, User: r.Login, Devices: r.Devices, From: moment(r.From), Until: moment(r.Until), Reason: r.Reason, Source: r.Source, Holders: holders,
	}
}

func (c *call) reserve() error {
	var want apitype.Reserve
	if err := c.read(&want); err != nil {
		return err
	}
	who, err := c.Accounts.LookupName(want.User)
	if err != nil {
		return &problem.Error{What: "Nothing reserved", Why: problem.Because(problem.ErrNotFound, "the host knows no account "+strconv.Quote(want.User)), Next: "Write the login name."}
	}
	r := gpu.Reservation{
		UID: who.UID, Login: who.Name, Devices: want.Devices, From: c.Now().UTC(), Reason: want.Reason, Source: "by " + c.who.Name,
	}
	if want.From != nil {
		r.From = want.From.UTC()
	}
	if want.Until != nil {
		r.Until = want.Until.UTC()
	}
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	if r, err = c.Ledger.Reserve(c.r.Context(), r); err != nil {
		return err
	}
	return c.answer(describeReservation(r, nil))
}

func (c *call) unreserve() error {
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	if err := c.Ledger.Unreserve(c.r.Context(), c.r.PathValue("id")); err != nil {
		return err
	}
	return c.answer(nil)
}

// warn adds to containers which of their devices are reserved for somebody
// else, and from when.
func (c *call) warn(all []apitype.Container) {
	warnings := map[string]*gpu.Warning{}
	list := c.Ledger.Warnings()
	for i := range list {
		if r, ok := c.Ledger.Record(list[i].Claim); ok && warnings[r.ContainerID] == nil {
			warnings[r.ContainerID] = &list[i]
		}
	}
	for i := range all {
		if w := warnings[all[i].ID]; w != nil {
			all[i].ReservedFor, all[i].ReservedFrom = w.Reservation.Login, moment(w.Reservation.From)
		}
	}
}
