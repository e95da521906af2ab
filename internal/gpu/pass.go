package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Pass goes through the queue once and says who gets what now. Who waits for a
// device keeps back from those behind every free one that it could use; a
// later one goes first only with devices that nobody ahead could use, or if it
// is sure to be done before the one ahead could begin. Who has reached a limit
// of their own keeps their place and keeps nobody up, and nobody's second ticket
// goes before their first. Devices reserved for
// others are given to nobody whose use would reach into the reservation.
//
// The places are those of Order. The same queue gives the same answer.
func Pass(q Queue, now time.Time) []Place {
	p := newPass(q, now)
	ranks := order(q, p.keeping, now)
	places := make([]Place, len(ranks))
	for i := range ranks {
		places[i] = Place{Ticket: *ranks[i].ticket, Reason: ranks[i].reason()}
		p.decide(&ranks[i], &places[i])
	}
	return places
}

// A pass is one look at the queue under way.
type pass struct {
	Queue
	now     time.Time
	keeping Keeping
	untaken []Device           // those that somebody may have a claim on
	free    []opening          // healthy ones that nobody holds, in the pool's order
	own     map[int][]Claim    // by uid: what they hold
	claims  []Claim            // of everybody, with those granted in this pass
	back    []returned         // of those, which come back when
	waits   map[int]bool       // by uid: a ticket of theirs ahead waits
	closed  map[string]string  // cards that are cut in this pass, or that somebody ahead waits for → why
	reaches map[reach][]Device // what usable found out
	alone   map[wish]chance    // and chanceOf
	refused map[wish]error     // and choose: what is refused stays so for the rest of the pass
	emptier []int              // and emptiest; nil: not yet, or no longer
	cards   map[string]int     // and cardOf; nil: not yet
}

// An opening is a device that was free when the pass began.
type opening struct {
	*Device
	got  bool      // given in this pass
	kept bool      // somebody ahead waits for it
	sure time.Time // since when that one has it for sure; zero: who knows
}

func newPass(q Queue, now time.Time) *pass {
	p := &pass{
		Queue: q, claims: slices.Clip(q.Pool.Claims), now: now, keeping: Keep(q.Pool.reservable(), q.Reservations, now),
		closed: map[string]string{}, own: map[int][]Claim{}, waits: map[int]bool{},
		reaches: map[reach][]Device{}, alone: map[wish]chance{}, refused: map[wish]error{},
	}
	held := make(map[string]bool, len(q.Pool.Claims))
	for i := range q.Pool.Claims {
		c := &q.Pool.Claims[i]
		if c.State == Released {
			continue
		}
		for _, g := range c.Devices {
			held[g.UUID] = true
		}
		p.own[c.UID] = append(p.own[c.UID], *c)
	}
	p.untaken = q.Pool.Devices
	if len(q.Pool.Taken) > 0 {
		p.untaken = slices.DeleteFunc(slices.Clone(q.Pool.Devices), func(d Device) bool { _, taken := q.Pool.Taken[d.UUID]; return taken })
	}
	for i := range p.untaken {
		if d := &p.untaken[i]; d.Problem == "" && !held[d.UUID] {
			p.free = append(p.free, opening{Device: d})
		}
	}
	return p
}

// decide grants a ticket what it can have now, or says what it waits for and
// keeps that back.
func (p *pass) decide(r *rank, place *Place) {
	until := r.until(p.now)
	if !p.waits[r.ticket.UID] {
		devices, plan, err := p.choose(r, until)
		if err == nil {
			p.grant(r, devices, plan, until)
			place.Granted, place.Plan = devices, plan
			return
		}
	}
	if err := p.possible(r, until); err != nil {
		place.Why, place.Limited = why(err), true
		return
	}
	p.waits[r.ticket.UID] = true // what is behind it may use up its owner's quota
	place.Why = "its devices are in use"
	if n := p.passed(r, until); n > 0 {
		place.Why = fmt.Sprintf("%s of those it could use are free and kept for who is ahead, or reserved", devices(n))
	}
	p.keepBack(r, until)
}

// until returns when what begins now is done; zero where nobody knows.
func (r *rank) until(now time.Time) time.Time {
	if within := r.standing.Within(r.ticket.Lasts); within > 0 {
		return now.Add(within)
	}
	return time.Time{}
}

// why is what an error says, without the words every refusal begins with.
func why(err error) string {
	if e, ok := errors.AsType[*problem.Error](err); ok && e.Why != nil {
		return e.Why.Error()
	}
	return err.Error()
}

// isOpen reports whether a ticket may be given a device that is still free.
func (p *pass) isOpen(o *opening, r *rank, until time.Time) bool {
	return (!o.kept || p.doneBefore(until, o.sure)) && p.keeping.From(o.UUID, r.ticket.UID, p.now, until) == nil
}

// open returns the free devices that a ticket may be given.
func (p *pass) open(r *rank, until time.Time) []Device {
	open := make([]Device, 0, len(p.free))
	for i := range p.free {
		if o := &p.free[i]; !o.got && p.isOpen(o, r, until) {
			open = append(open, *o.Device)
		}
	}
	return open
}

// passed returns how many free devices a ticket could use, but may not be given.
func (p *pass) passed(r *rank, until time.Time) (n int) {
	for i := range p.free {
		if o := &p.free[i]; !o.got && !p.isOpen(o, r, until) && r.useful(o.Device) {
			n++
		}
	}
	return n
}

// doneBefore reports whether a use until then is over when another is sure to
// begin.
func (*pass) doneBefore(until, sure time.Time) bool {
	return !until.IsZero() && !sure.IsZero() && !until.After(sure)
}

// choose picks devices for a ticket. What is refused to somebody with nothing
// reserved is refused to all behind who ask the same and may have as much: there
// is ever less in a pass. What people hold matters for "all" only.
func (p *pass) choose(r *rank, until time.Time) ([]Device, Plan, error) {
	own := p.own[r.ticket.UID]
	alike := !p.keeping.knows(r.ticket.UID) && len(r.ticket.Exact) == 0 && (len(own) == 0 || !r.ticket.Request.All)
	key := r.wish(r.standing.Quota.without(own), until)
	if err := p.refused[key]; err != nil && alike {
		return nil, Plan{}, err
	}
	devices, plan, err := p.chooseOpen(r, p.open(r, until), until)
	if err != nil && alike {
		p.refused[key] = err
	}
	return devices, plan, err
}

// chooseOpen picks devices for a ticket out of the open ones: those reserved for
// its owner first. The plan says what must be done for them, if anything.
func (p *pass) chooseOpen(r *rank, open []Device, until time.Time) ([]Device, Plan, error) {
	var mine []Device
	if r.reserved != nil {
		mine = slices.DeleteFunc(slices.Clone(open), func(d Device) bool { return p.keeping.Own(d.UUID, r.ticket.UID, p.now) == nil })
	}
	if p.cuts(r) {
		return p.arrange(r, open, mine, until)
	}
	if r.reserved != nil {
		if devices, err := p.ask(r, mine); err == nil {
			return devices, Plan{}, nil
		}
	}
	if r.ticket.Request.All {
		if err := p.wholeAll(r, open, until); err != nil {
			return nil, Plan{}, err
		}
	}
	devices, err := p.ask(r, open)
	return devices, Plan{}, err
}

// wholeAll refuses where "all" of the open devices would be fewer than all
// means: it isn't shrunk because others hold some, or wait for some.
func (p *pass) wholeAll(r *rank, open []Device, until time.Time) error {
	host, err := p.ask(r, p.usable(r, until))
	if err != nil {
		return err
	}
	got, err := p.ask(r, open)
	if err == nil && len(got) < len(host) {
		err = tooFewForAll(len(host), len(got))
	}
	return err
}

// ask says what the ticket's owner, who holds what they hold, gets of these
// devices if nobody else holds any.
func (p *pass) ask(r *rank, of []Device) ([]Device, error) {
	pool := Pool{Devices: of, Claims: p.own[r.ticket.UID], Reserved: p.keeping.For(p.now)}
	if len(r.ticket.Exact) > 0 {
		return Reclaim(pool, r.ticket.UID, r.ticket.Exact, r.standing.Quota)
	}
	return Allocate(pool, r.ticket.UID, r.ticket.Request, r.standing.Quota)
}

// usable returns the devices that the owner could have if no claim of others
// held any.
func (p *pass) usable(r *rank, until time.Time) []Device {
	if !p.keeping.Any() {
		return p.untaken
	}
	key := reach{until: until}
	if p.keeping.knows(r.ticket.UID) {
		key.uid = r.ticket.UID
	}
	all, known := p.reaches[key]
	if !known {
		all = slices.DeleteFunc(slices.Clone(p.untaken), func(d Device) bool {
			return p.keeping.From(d.UUID, r.ticket.UID, p.now, until) != nil
		})
		p.reaches[key] = all
	}
	return all
}

// A reach is what the devices that somebody could use depend on, beside limits.
type reach struct {
	uid   int // 0 for everybody who has nothing reserved; what root has reserved is looked up with it
	until time.Time
}

// possible refuses where the ticket would get nothing even if no claim of
// others held anything: its owner's own limits, the host, or what is reserved
// or out of reach stands in the way, and waiting behind it would help nobody.
func (p *pass) possible(r *rank, until time.Time) error {
	own := p.own[r.ticket.UID]
	special := len(r.ticket.Exact) > 0 || p.keeping.knows(r.ticket.UID)
	switch {
	case special || len(own) > 0 && r.ticket.Request.All:
		_, err := p.supposeAlone(r, until)
		return err
	case len(own) == 0:
		return p.chanceOf(r, until).err
	}
	// Who holds something has the chance of somebody who may have so much less, as
	// long as that doesn't touch what they hold.
	less := *r
	less.standing.Quota = r.standing.Quota.without(own)
	if c := p.chanceOf(&less, until); c.err == nil && !p.touches(c.cards, own) {
		return nil
	}
	_, err := p.supposeAlone(r, until)
	return err
}

// A chance is what somebody could have who holds nothing, if nobody else did.
type chance struct {
	err   error
	cards []int // on which that would be
}

// chanceOf works out the chance of somebody who holds nothing and has nothing
// reserved, once for all who wish and may have the same.
func (p *pass) chanceOf(r *rank, until time.Time) chance {
	key := r.wish(r.standing.Quota, until)
	c, known := p.alone[key]
	if !known {
		nobody := *r
		ticket := *r.ticket
		ticket.UID = nobodysUID
		nobody.ticket = &ticket
		c.cards, c.err = p.supposeAlone(&nobody, until)
		p.alone[key] = c
	}
	return c
}

// nobodysUID is that of nobody, who holds nothing.
const nobodysUID = -2

// supposeAlone says on which cards a ticket would get devices if no claim of
// others held anything.
func (p *pass) supposeAlone(r *rank, until time.Time) (cards []int, err error) {
	if p.cuts(r) {
		return p.arrangeAlone(r, until)
	}
	devices, err := p.ask(r, p.usable(r, until))
	for i := range devices {
		cards = append(cards, devices[i].Card)
	}
	return cards, err
}

// touches reports whether one of the claims holds something on one of the cards.
func (p *pass) touches(cards []int, claims []Claim) bool {
	for i := range claims {
		for _, g := range claims[i].Devices {
			if card, there := p.cardOf(g.UUID); there && slices.Contains(cards, card) {
				return true
			}
		}
	}
	return false
}

// cardOf returns the index of the card that a device is on.
func (p *pass) cardOf(uuid string) (index int, there bool) {
	if p.cards == nil {
		p.cards = make(map[string]int, len(p.Pool.Devices))
		for i := range p.Pool.Devices {
			p.cards[p.Pool.Devices[i].UUID] = p.Pool.Devices[i].Card
		}
	}
	index, there = p.cards[uuid]
	return index, there
}

// A wish is what the answer to somebody depends on who holds nothing and has
// nothing reserved; its sources are in the words of a refusal.
type wish struct {
	request    string
	total, one quantity.Limit[int]
	share      quantity.Limit[quantity.GPUShare]
	full, any  bool
	until      time.Time
	sources    [4]string
}

// A returned device comes back at a time that is known.
type returned struct {
	device Device
	at     time.Time
}

func (r *rank) wish(q Quota, until time.Time) wish {
	return wish{
		r.asks, q.MaxDevices, q.MaxPerContainer, q.MaxShare, q.AllowFull, q.NameAny, until,
		[4]string{q.Source[keyDevices], q.Source[keyPerContainer], q.Source[keyShare], q.Source[keyFull]},
	}
}

// without is what may be had beside what claims hold.
func (q Quota) without(claims []Claim) Quota {
	devices, share := 0, quantity.GPUShare(0)
	for i := range claims {
		for _, g := range claims[i].Devices {
			devices++
			share += g.Share
		}
	}
	if !q.MaxDevices.Unlimited {
		q.MaxDevices.Value -= devices
	}
	if !q.MaxShare.Unlimited {
		q.MaxShare.Value -= share
	}
	return q
}

// grant takes the devices away from those behind, and the cards that are cut
// for them.
func (p *pass) grant(r *rank, devices []Device, plan Plan, until time.Time) {
	p.emptier = nil
	p.closeCards(plan)
	for _, d := range devices {
		if i := slices.IndexFunc(p.free, func(o opening) bool { return o.UUID == d.UUID }); i >= 0 {
			p.free[i].got = true
		}
		if !until.IsZero() {
			p.back = append(p.back, returned{d, until})
		}
	}
	uid := r.ticket.UID
	c := Claim{ID: r.ticket.ID, UID: uid, State: Pending, Devices: grantsOf(devices)}
	p.own[uid], p.claims = append(p.own[uid], c), append(p.claims, c)
}

func grantsOf(devices []Device) []Grant {
	grants := make([]Grant, len(devices))
	for i, d := range devices {
		grants[i] = Grant{UUID: d.UUID, Slot: d.Slot, Share: d.Share}
	}
	return grants
}

// keepBack keeps the free devices that a waiting ticket could use from those
// behind it.
func (p *pass) keepBack(r *rank, until time.Time) {
	if p.cuts(r) {
		p.keepCards(r, until)
	}
	sure, known := time.Time{}, false
	for i := range p.free {
		o := &p.free[i]
		if o.kept || o.got || !r.useful(o.Device) || p.keeping.From(o.UUID, r.ticket.UID, p.now, until) != nil {
			continue
		}
		if !known {
			sure, known = p.sure(r), true
		}
		o.kept, o.sure = true, sure
	}
}

// useful reports whether a ticket could be given the device when it has its
// turn. In doubt it could.
func (r *rank) useful(d *Device) bool {
	if len(r.ticket.Exact) > 0 {
		return slices.Contains(r.ticket.Exact, d.UUID)
	}
	if !r.ticket.Request.mayTake(d) {
		return false
	}
	q := &r.standing.Quota
	if d.Profile == Full && !q.AllowFull {
		return false
	}
	// What they hold now may be given back before.
	return q.MaxShare.Unlimited || d.Share <= q.MaxShare.Value
}

// sure returns when a waiting ticket has as many useful devices as it needs at
// the latest; zero where nobody knows.
func (p *pass) sure(r *rank) time.Time {
	need := max(r.ticket.Request.Devices(), len(r.ticket.Exact))
	if r.ticket.Request.All || len(p.Ends)+len(p.back) == 0 {
		return time.Time{}
	}
	devices := make(map[string]*Device, len(p.Pool.Devices))
	for i := range p.Pool.Devices {
		devices[p.Pool.Devices[i].UUID] = &p.Pool.Devices[i]
	}
	for i := range p.free {
		if o := &p.free[i]; !o.got && r.useful(o.Device) {
			need--
		}
	}
	var ends []time.Time
	for i := range p.back {
		if r.useful(&p.back[i].device) {
			ends = append(ends, p.back[i].at)
		}
	}
	for i := range p.Pool.Claims {
		c := &p.Pool.Claims[i]
		end, known := p.Ends[c.ID]
		if !known || c.State == Released {
			continue
		}
		for _, g := range c.Devices {
			if d := devices[g.UUID]; d != nil && d.Problem == "" && r.useful(d) {
				ends = append(ends, end)
			}
		}
	}
	if need < 1 || need > len(ends) {
		return time.Time{}
	}
	slices.SortFunc(ends, time.Time.Compare)
	return ends[need-1]
}

// Estimate says when each waiting ticket will probably have its turn, by its
// ID: as if everybody went strictly in turn and what is held were given back
// at the times of expected, by claim, and what is granted then were held for
// the time of lasts, by ticket. What nobody knows is left out.
func Estimate(q Queue, expected map[string]time.Time, lasts map[string]time.Duration, now time.Time) map[string]time.Time {
	e := estimate{Queue: q, times: map[string]time.Time{}}
	e.Pool.Claims = slices.Clone(q.Pool.Claims)
	for i := range e.Pool.Claims {
		if end, ok := expected[e.Pool.Claims[i].ID]; ok && e.Pool.Claims[i].State != Released {
			e.ends = append(e.ends, ending{end, e.Pool.Claims[i].ID})
		}
	}
	e.run(order(q, Keep(q.Pool.reservable(), q.Reservations, now), now), lasts, now)
	return e.times
}

type ending struct {
	at    time.Time
	claim string
}

// An estimate is a look ahead under way.
type estimate struct {
	Queue
	ends  []ending // when devices become free
	times map[string]time.Time
}

func (e *estimate) run(ranks []rank, lasts map[string]time.Duration, now time.Time) {
	for i := range ranks {
		for {
			place := e.start(&ranks[i], lasts, now)
			if place.Limited || place.Granted != nil {
				break // nobody knows when somebody gives something of their own back
			}
			if len(e.ends) == 0 {
				return // and nobody behind it knows either
			}
			now = e.next(now)
		}
	}
}

// start gives a ticket its devices if they are free at now.
func (e *estimate) start(r *rank, lasts map[string]time.Duration, now time.Time) (place Place) {
	newPass(e.Queue, now).decide(r, &place)
	if place.Granted == nil {
		return place
	}
	e.times[r.ticket.ID] = now
	e.Pool.Claims = append(e.Pool.Claims, Claim{ID: r.ticket.ID, UID: r.ticket.UID, State: Pending, Devices: grantsOf(place.Granted)})
	if lasts[r.ticket.ID] > 0 {
		e.ends = append(e.ends, ending{now.Add(lasts[r.ticket.ID]), r.ticket.ID})
	}
	return place
}

// next gives back what is given back next, and returns when that is.
func (e *estimate) next(now time.Time) time.Time {
	first := 0
	for i := range e.ends {
		if c := cmp.Or(e.ends[i].at.Compare(e.ends[first].at), cmp.Compare(e.ends[i].claim, e.ends[first].claim)); c < 0 {
			first = i
		}
	}
	end := e.ends[first]
	e.ends = slices.Delete(e.ends, first, first+1)
	for i := range e.Pool.Claims {
		if e.Pool.Claims[i].ID == end.claim {
			e.Pool.Claims[i].State = Released
		}
	}
	if end.at.After(now) {
		return end.at
	}
	return now
}
