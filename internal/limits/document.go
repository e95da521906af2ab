package limits

import (
	"maps"
	"slices"
	"time"

	"ds01.dev/ds01/internal/account"
)

// A Document is a limits file with its members files. It is immutable and
// safe for concurrent use.
type Document struct {
	keys      [numKeys]key
	groups    []group
	byName    map[string]int   // group name → place in groups
	memberOf  map[string][]int // login name → places in groups, from the files
	overrides map[string]override
	reserved  []Reservation
	defaults  profile // applies to those in no group
	fallback  int     // the default group's place in groups, or -1
	types     map[string]Type
}

// A group is one entry of groups, laid over defaults.
type group struct {
	name string
	profile
}

// A profile is what a rule and those below it say.
type profile struct {
	said   layer  // by the file
	limits Limits // with what is built in
}

// An override is one entry of user_overrides.
type override struct {
	layer
	expires time.Time // zero: never
}

// Resolve returns the limits of a at the moment now: the person's override,
// unless it has expired, over the person's group, over defaults, over what is
// built in. A person is in a group whose members name them or whose name is
// one of their Unix groups; of several, the first in the file applies. Who is
// in none belongs to the default group.
func (d *Document) Resolve(a account.Account, now time.Time) Limits {
	in := d.groupsOf(a)
	place := d.fallback
	if len(in) > 0 {
		place = in[0]
	}
	p, name := &d.defaults, ""
	if place >= 0 {
		p, name = &d.groups[place].profile, d.groups[place].name
	}
	l := p.limits
	if o, ok := d.overrides[a.Name]; ok && (o.expires.IsZero() || now.Before(o.expires)) {
		said := p.said
		said.lay(&o.layer)
		said.complete(&d.keys)
		l = said.limits()
		l.Override = true
	}
	l.Group = name
	for _, i := range in[min(1, len(in)):] {
		l.OtherGroups = append(l.OtherGroups, d.groups[i].name)
	}
	return l
}

// groupsOf returns the places of a's groups, in their order.
func (d *Document) groupsOf(a account.Account) []int {
	in := slices.Clone(d.memberOf[a.Name])
	for _, g := range a.Groups {
		if i, ok := d.byName[g.Name]; ok {
			in = append(in, i)
		}
	}
	slices.Sort(in)
	return slices.Compact(in)
}

// KnownUsers returns the login names that the file or a members file names,
// as members or in an override, sorted.
func (d *Document) KnownUsers() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(d.memberOf)), maps.Keys(d.overrides))
	slices.Sort(names)
	return slices.Compact(names)
}

// GroupsInOrder returns the names of the limits groups in the file's order,
// which is the order of precedence.
func (d *Document) GroupsInOrder() []string {
	names := make([]string, len(d.groups))
	for i := range d.groups {
		names[i] = d.groups[i].name
	}
	return names
}

// A Reservation is what user_overrides keep for one person: devices, from one
// moment to another.
type Reservation struct {
	Login   string
	Devices []string  // slots, indices of cards or UUIDs, as the file names them
	From    time.Time // zero: from ever
	Until   time.Time // zero: without end
	Reason  string
	Source  Source
}

// Reservations returns what the file reserves, in its order.
func (d *Document) Reservations() []Reservation { return slices.Clone(d.reserved) }

// finish lays groups over defaults and fills in what is built in.
func (d *Document) finish() {
	d.defaults.finish(&d.keys)
	for i := range d.groups {
		own := d.groups[i].said
		d.groups[i].said = d.defaults.said
		d.groups[i].said.lay(&own)
		d.groups[i].finish(&d.keys)
	}
}

// finish works out a profile's limits.
func (p *profile) finish(keys *[numKeys]key) {
	whole := p.said
	whole.complete(keys)
	p.limits = whole.limits()
}
