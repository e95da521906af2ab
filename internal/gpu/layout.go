package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// A Layout is how an administrator declares cards to be. Cards that no cut
// names stay as they are.
type Layout []Cut

// A Cut declares the same for each of its cards.
type Cut struct {
	All       bool           // every card of the host, Cards is empty then
	Cards     []int          // indexes
	MIG       bool           // false: the card is whole
	Instances map[string]int // profile → how many; only with MIG
	Source    string         // where it is written, "layout.yaml:4"
}

// A Hindrance is something that has to be out of the way before a card can be
// as it is declared.
type Hindrance struct {
	Device string // UUID of the card or instance
	Slot   string // of the device, as in Device
	Claim  string // id of the claim that holds it, "" = none
	Reset  bool   // the card needs a reset, which ds01 doesn't do
	Why    string
	Next   string // full sentences: what to do, and by whom
}

// A CardPlan is what a layout means for one card. While something is in the
// way none of the steps may be taken; they are those that follow once nothing
// is.
type CardPlan struct {
	Card     int // index
	CardUUID string
	Model    string
	Kept     []Instance // what stays untouched, by index
	Steps    []Step     // in this order; none: the card is as declared
	InTheWay []Hindrance
}

// PlanLayout says what has to be done for the cards to be as the layout
// declares, for each card that it names, in the order of their indexes. An
// instance that may stay isn't touched, those in use before free ones, and
// everything it makes stands where the driver's list of places allows it. Equal
// input gives equal output.
//
// An instance in use that has to go, a card with something on it that no claim
// explains, one with a problem and one that needs a reset are in the way. A
// layout that no card can have is ErrInvalid.
func PlanLayout(h Host, l Layout) ([]CardPlan, error) {
	cuts, err := l.byCard(h.Cards)
	if err != nil {
		return nil, err
	}
	u := newUses(h)
	plans := make([]CardPlan, 0, len(cuts))
	for _, index := range slices.Sorted(maps.Keys(cuts)) {
		c := &h.Cards[slices.IndexFunc(h.Cards, func(c Card) bool { return c.Index == index })]
		r := refit{Card: c, cut: cuts[index], profiles: ProfilesOf(h.Cards, *c), uses: u}
		plan, err := r.plan()
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

// Ready returns the steps of all cards, or, while something is in the way
// anywhere, an ErrConflict that says what and touches nothing. With
// skipResets, cards that need a reset are left as they are.
func Ready(plans []CardPlan, skipResets bool) ([]Step, error) {
	var steps []Step
	var blocked []Hindrance
	for _, p := range plans {
		if skipResets && p.NeedsReset() {
			continue
		}
		steps = append(steps, p.Steps...)
		blocked = append(blocked, p.InTheWay...)
	}
	if len(blocked) == 0 {
		return steps, nil
	}
	why, next := []string{}, []string{}
	for _, b := range blocked {
		why = append(why, b.Why)
		if !slices.Contains(next, b.Next) {
			next = append(next, b.Next)
		}
	}
	return nil, &problem.Error{
		What: "MIG layout not applied, nothing was touched",
		Why:  problem.Because(problem.ErrConflict, strings.Join(why, "; ")), Next: strings.Join(next, " "), Code: "LAYOUT_BLOCKED",
	}
}

// NeedsReset reports whether the card needs a reset, which ds01 doesn't do.
func (p *CardPlan) NeedsReset() bool {
	return slices.ContainsFunc(p.InTheWay, func(b Hindrance) bool { return b.Reset })
}

// byCard returns the cut of each card that is named.
func (l Layout) byCard(cards []Card) (map[int]Cut, error) {
	cuts := make(map[int]Cut)
	for _, cut := range l {
		named := cut.Cards
		if cut.All {
			named = nil
			for _, c := range cards {
				named = append(named, c.Index)
			}
		}
		for _, index := range named {
			if !slices.ContainsFunc(cards, func(c Card) bool { return c.Index == index }) {
				return nil, cut.wrong(fmt.Sprintf("there is no card %d, this host has %d", index, len(cards)), "'ds01 gpu mig export' shows the cards.")
			}
			if other, twice := cuts[index]; twice {
				return nil, cut.wrong(fmt.Sprintf("card %d is declared at %s already", index, other.Source), "Name each card once.")
			}
			cuts[index] = cut
		}
	}
	return cuts, nil
}

func (cut *Cut) wrong(why, next string) error {
	return &problem.Error{What: "MIG layout not possible", Why: problem.Because(problem.ErrInvalid, cut.Source+": "+why), Next: next}
}

// profiles returns the profile of each declared instance, by name.
func (cut *Cut) profiles() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(cut.Instances)) {
		all = append(all, slices.Repeat([]string{name}, cut.Instances[name])...)
	}
	return all
}

// uses is who uses which device.
type uses struct {
	claims map[string]*Claim // by UUID of what they hold
	taken  map[string]string
}

func newUses(h Host) uses {
	u := uses{claims: make(map[string]*Claim), taken: h.Taken}
	for i := range h.Claims {
		if h.Claims[i].State == Released {
			continue
		}
		for _, g := range h.Claims[i].Devices {
			u.claims[g.UUID] = &h.Claims[i]
		}
	}
	return u
}

func (u uses) of(uuid string) bool { return u.claims[uuid] != nil || u.taken[uuid] != "" }

// A refit is one card on its way to what is declared for it.
type refit struct {
	*Card
	cut      Cut
	profiles []Profile
	uses     uses
}

func (r *refit) plan() (CardPlan, error) {
	plan := CardPlan{Card: r.Index, CardUUID: r.UUID, Model: r.Model}
	kept, made, err := r.arrange()
	if err != nil {
		return plan, err
	}
	for i := range r.Instances {
		in := &r.Instances[i]
		if kept&(1<<i) != 0 {
			plan.Kept = append(plan.Kept, *in)
			continue
		}
		s := r.step(Destroy, r.whyGone(in))
		s.Instance, s.Profile, s.At = in.UUID, in.Profile, Placement{Start: in.Start, Size: in.Size}
		plan.Steps = append(plan.Steps, s)
		if b, ok := r.holds(in); ok {
			plan.InTheWay = append(plan.InTheWay, b)
		}
	}
	switch {
	case r.cut.MIG && !r.MIG:
		plan.Steps = append(plan.Steps, r.step(EnableMIG, "the layout wants MIG on"))
	case !r.cut.MIG && r.MIG:
		plan.Steps = append(plan.Steps, r.step(DisableMIG, "the layout wants the card whole"))
	}
	for _, p := range made {
		s := r.step(Create, "the layout wants it")
		s.Profile, s.At = p.Profile, p.At
		plan.Steps = append(plan.Steps, s)
	}
	plan.InTheWay = append(plan.InTheWay, r.closed(plan)...)
	return plan, nil
}

func (r *refit) step(verb Verb, reason string) Step {
	mode := verb == EnableMIG || verb == DisableMIG
	return Step{Verb: verb, Card: r.Index, CardUUID: r.UUID, Reset: mode && r.MIGResets, Declared: true, Reason: reason + " (" + r.cut.Source + ")"}
}

func (r *refit) whyGone(in *Instance) string {
	switch n := r.cut.Instances[in.Profile]; {
	case !r.cut.MIG:
		return "the layout wants the card whole"
	case n == 0:
		return "the layout has none"
	default:
		return fmt.Sprintf("the layout has %d and no room for this one", n)
	}
}

// arrange chooses which instances stay, a bit for each, and where the declared
// ones that are missing are made.
func (r *refit) arrange() (kept uint, made []Placed, err error) {
	if !r.cut.MIG || r.secret() {
		return 0, nil, nil
	}
	for name, n := range r.cut.Instances {
		if n < 1 {
			return 0, nil, r.cut.wrong(fmt.Sprintf("%d instances of %s", n, name), "Write how many there are to be, or leave the line out.")
		}
	}
	wanted := r.cut.profiles()
	if _, err := PlaceLayout(r.profiles, wanted); err != nil {
		if p, ok := errors.AsType[*problem.Error](err); ok {
			return 0, nil, r.cut.wrong(fmt.Sprintf("card %d (%s): %s: %v", r.Index, r.Model, p.What, p.Why), p.Next)
		}
		return 0, nil, err
	}
	for _, kept := range r.choices() {
		standing, missing, ok := r.split(kept, wanted)
		if !ok {
			continue
		}
		if at, err := placeBeside(r.profiles, standing, missing); err == nil {
			for i, name := range missing {
				made = append(made, Placed{Profile: name, At: at[i]})
			}
			return kept, made, nil
		}
	}
	return 0, nil, fmt.Errorf("card %d has a layout and yet has none", r.Index) // the empty choice always has room
}

// secret reports whether the card's profiles, of which the layout wants some,
// aren't known: it has no MIG, or its driver tells them with MIG on only.
func (r *refit) secret() bool { return !r.MIG && len(r.profiles) == 0 && len(r.cut.Instances) > 0 }

// choices returns every set of instances that could stay, the best first: with
// the most in use, then the most at all.
func (r *refit) choices() []uint {
	var used uint
	for i := range r.Instances {
		if in := &r.Instances[i]; r.uses.of(in.UUID) || in.Problem != "" {
			used |= 1 << i
		}
	}
	all := make([]uint, 0, 1<<len(r.Instances))
	for set := range uint(1) << len(r.Instances) {
		all = append(all, set)
	}
	slices.SortStableFunc(all, func(a, b uint) int {
		return cmp.Or(cmp.Compare(bits.OnesCount(b&used), bits.OnesCount(a&used)), cmp.Compare(bits.OnesCount(b), bits.OnesCount(a)))
	})
	return all
}

// split returns the instances that stay and the declared ones that are missing
// beside them. It is false for more of a profile than are declared.
func (r *refit) split(kept uint, wanted []string) (standing []Placed, missing []string, ok bool) {
	missing = slices.Clone(wanted)
	for i := range r.Instances {
		if kept&(1<<i) == 0 {
			continue
		}
		in := &r.Instances[i]
		at := slices.Index(missing, in.Profile)
		if at < 0 {
			return nil, nil, false
		}
		missing = slices.Delete(missing, at, at+1)
		standing = append(standing, Placed{Profile: in.Profile, At: Placement{Start: in.Start, Size: in.Size}})
	}
	return standing, missing, true
}

// holds says who or what keeps an instance from being removed.
func (r *refit) holds(in *Instance) (Hindrance, bool) {
	b := Hindrance{Device: in.UUID, Slot: strconv.Itoa(r.Index) + "." + strconv.Itoa(in.Index)}
	name := fmt.Sprintf("%s (%s at %d)", b.Slot, in.Profile, in.Start)
	switch claim := r.uses.claims[in.UUID]; {
	case claim != nil:
		b.Claim, b.Why, b.Next = claim.ID, name+" is held", nextHeld(r.Index)
	case r.uses.taken[in.UUID] != "":
		b.Why, b.Next = name+": "+r.uses.taken[in.UUID], nextStranger
	case in.Problem != "":
		b.Why = name + ": " + in.Problem
		b.Next = cmp.Or(in.Mend, fmt.Sprintf("As root, remove what others made on card %d: 'nvidia-smi mig -i %d -dci' and 'nvidia-smi mig -i %d -dgi'.", r.Index, r.Index, r.Index))
	default:
		return b, false
	}
	return b, true
}

func nextHeld(card int) string {
	return fmt.Sprintf("Keep others off with 'ds01 gpu drain %d', and wait until it is given back or ask its holder to remove the container.", card)
}

const nextStranger = "Stop what uses it without ds01; 'ds01 gpu list' and 'nvidia-smi' show it."

// closed says why nothing may be done to the card at all.
func (r *refit) closed(plan CardPlan) []Hindrance {
	var all []Hindrance
	add := func(b Hindrance) {
		b.Device, b.Slot = r.UUID, strconv.Itoa(r.Index)
		all = append(all, b)
	}
	if r.MIGWaits {
		add(Hindrance{Reset: true, Why: fmt.Sprintf("a change of the MIG mode of card %d waits for a reset", r.Index), Next: r.reset("")})
	}
	if len(plan.Steps) == 0 {
		return all
	}
	if claim := r.uses.claims[r.UUID]; claim != nil {
		add(Hindrance{Claim: claim.ID, Why: fmt.Sprintf("card %d is held", r.Index), Next: nextHeld(r.Index)})
	}
	if why := r.uses.taken[r.UUID]; why != "" {
		add(Hindrance{Why: fmt.Sprintf("card %d: %s", r.Index, why), Next: nextStranger})
	}
	for i := range plan.Kept {
		if why := r.uses.taken[plan.Kept[i].UUID]; why != "" {
			add(Hindrance{Why: fmt.Sprintf("%d.%d could stay, but nothing is changed beside it: %s", r.Index, plan.Kept[i].Index, why), Next: nextStranger})
		}
	}
	if r.secret() {
		add(Hindrance{
			Why:  fmt.Sprintf("the driver lists no MIG profile of card %d (%s): it has no MIG, or they are told with MIG on only", r.Index, r.Model),
			Next: "Turn MIG on first: declare the card with mig-devices: {} and apply that, then this layout.",
		})
	}
	if r.Problem != "" {
		add(Hindrance{Why: fmt.Sprintf("card %d: %s", r.Index, r.Problem), Next: strings.TrimSpace(r.Mend + " Or leave the card out of the layout.")})
	}
	if r.cut.MIG != r.MIG && r.MIGResets && !r.MIGWaits {
		add(Hindrance{
			Reset: true, Why: fmt.Sprintf("the MIG mode of card %d changes with a reset of the card only, which ds01 doesn't do", r.Index),
			Next: r.reset(r.setMode()),
		})
	}
	return all
}

// setMode returns the commands that set the mode which the next reset brings.
func (r *refit) setMode() string {
	if r.cut.MIG {
		return fmt.Sprintf("'nvidia-smi -i %d -mig 1', ", r.Index)
	}
	mode := fmt.Sprintf("'nvidia-smi -i %d -mig 0', ", r.Index)
	if len(r.Instances) > 0 {
		return fmt.Sprintf("'nvidia-smi mig -i %d -dci', 'nvidia-smi mig -i %d -dgi', ", r.Index, r.Index) + mode
	}
	return mode
}

func (r *refit) reset(before string) string {
	return fmt.Sprintf("Stop everything that has card %d open, monitoring and ds01 too, then as root: %s'nvidia-smi --gpu-reset -i %d', or reboot the host. Then apply the layout again; with --skip-resets the other cards go on without it.",
		r.Index, before, r.Index)
}
