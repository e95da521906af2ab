package gpu

import (
	"cmp"
	"slices"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// A MIGMode says what ds01 may do with MIG on this host: gpu.mig.mode.
type MIGMode string

// Modes of MIG.
const (
	MIGOff     MIGMode = "off"     // only whole cards are granted
	MIGStatic  MIGMode = "static"  // the instances that are there are granted and stay
	MIGDynamic MIGMode = "dynamic" // instances are made when asked for and folded when free
)

// A Host is what a plan starts from. The order of its parts doesn't matter.
type Host struct {
	Cards  []Card
	Claims []Claim           // every claim, of everybody; released ones hold nothing
	Taken  map[string]string // as in Pool, and cards too; see Unexplained
	// FreedAt says since when an instance has been free. One that isn't there
	// has been free for long.
	FreedAt map[string]time.Time
}

// A Policy is how this site wants its cards used.
type Policy struct {
	Mode       MIGMode
	Tables     Tables        // of all cards
	KeepFull   int           // as many cards stay free of instances as long as there is another way
	Hysteresis time.Duration // as long as that an instance stands after it became free
	CanReset   bool          // who carries out the plan can reset a card
}

// A Want is one device of a request: the profiles that will do, the best one
// first. Full is a whole card.
type Want []string

// A Verb is what one step of a plan does.
type Verb string

// Verbs of a step, each a call of the driver.
const (
	Destroy    Verb = "destroy"
	EnableMIG  Verb = "enable MIG"
	DisableMIG Verb = "disable MIG"
	Create     Verb = "create"
)

// A Step is one call of the driver.
type Step struct {
	Verb     Verb
	Card     int // index
	CardUUID string
	Instance string    // UUID of what is destroyed, else ""
	Profile  string    // of what is destroyed or created, else ""
	At       Placement // likewise
	Reset    bool      // the mode changes with a reset of the card, which belongs to the step
	Declared bool      // an administrator declared it: a drained card may be changed too
	Reason   string
}

// A Pick is the device that a want gets.
type Pick struct {
	UUID        string // "" as long as the step that makes it is to come
	Step        int    // in the plan's Steps: after it the device is there; -1 = it is there now
	Card        int    // index
	CardUUID    string
	Profile     string // of the want's, Full for a whole card
	At          Placement
	Share       quantity.GPUShare
	MemoryBytes int64
	Reason      string
}

// A Plan is what is to be done, in this order, and what comes of it. Each step
// can be carried out when those before it have been, and an end after any of
// them leaves a layout that the card can hold.
type Plan struct {
	Steps []Step
	Picks []Pick // one for each want, in their order
}

// Repartition chooses a device for each want, all of them or none, and says
// what the driver must do first. It takes the place that leaves most open (see
// NewTable), on cards that have instances already where KeepFull asks for it,
// else on those that needn't be reset, then on those whose MIG mode stays; an
// instance that stands free there is used again, and free ones in the way are
// folded. Whole cards are chosen near one another. Equal input gives equal
// output.
//
// It never touches an instance that a claim holds or somebody uses, nor does
// anything to a card with something on it that no claim explains, nor to one
// with a problem. It knows no quota. A refusal is a *problem.Error:
// ErrExhausted (NO_GPU_AVAILABLE), or ErrInvalid for a profile that no card
// offers.
func Repartition(h Host, wants []Want, p Policy, now time.Time) (Plan, error) {
	pl := newPlanner(h, p, now)
	for _, w := range wants {
		if err := pl.understand(w); err != nil {
			return Plan{}, err
		}
	}
	pl.wants = wants
	pl.order = make([]int, len(wants))
	for i := range wants {
		pl.order[i] = i
	}
	slices.SortStableFunc(pl.order, func(a, b int) int { return cmp.Compare(pl.size(wants[b]), pl.size(wants[a])) })
	if !pl.place(0) {
		return Plan{}, pl.refuse()
	}
	return pl.plan(), nil
}

// Tidy folds every instance that is free, has stood for long enough and isn't
// reserved, in dynamic mode. When that is done, there is nothing more to tidy.
func Tidy(h Host, k Keeping, p Policy, now time.Time) Plan {
	pl := newPlanner(h, p, now)
	var plan Plan
	for i := range pl.bays {
		b := &pl.bays[i]
		for j := range b.Instances {
			if b.foldable(j) && !k.reserved(b.Instances[j].UUID, now) {
				plan.Steps = append(plan.Steps, b.destroy(&b.Instances[j], "it has been free for long enough"))
			}
		}
	}
	return plan
}
