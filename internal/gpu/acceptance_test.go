package gpu_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/gpu"
)

// The simulation asks what share of requests finds a place: jobs come as a
// Poisson stream, each wants one instance, stays for an exponential time, and
// goes away at once where there is no room. load is what they want in compute
// slices, over what the cards have.
type column struct {
	cards int
	load  float64
}

func columns() []column { return []column{{4, .5}, {4, .7}, {4, .9}, {8, .7}, {8, .9}} }

// A row is one way to choose: it returns a card and a place, or false.
type row struct {
	name   string
	choose func(w *lab, p gpu.Profile) (card, start int, ok bool)
}

// lab is the simulated host. Instances on its cards are in use, save in our
// own row.
type lab struct {
	profiles []gpu.Profile
	cards    []gpu.Card
	claims   []gpu.Claim
	policy   gpu.Policy
	rng      *rand.Rand // for rows that draw
	made     int
	keeps    bool           // what a job leaves stands until it is folded
	static   []gpu.Instance // of the row with a static layout, by card
}

type job struct {
	ends  time.Duration
	claim gpu.Claim
}

// accepted returns the share of jobs that found a place, and that weighted by
// their compute slices, in percent.
func accepted(t testing.TB, r row, c column, seed uint64, jobs int) (share, weighted float64) {
	w := newLab(t, c.cards, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var now time.Duration
	var running []job
	got, gotSlices, slicesAsked := 0, 0, 0
	for range jobs {
		profile := w.draw(rng)
		perSecond := c.load * 7 * float64(c.cards) / meanSlices(w.profiles)
		now += time.Duration(rng.ExpFloat64() / perSecond * float64(time.Second))
		stays := time.Duration(rng.ExpFloat64() * float64(time.Second))
		running = slices.DeleteFunc(running, func(j job) bool {
			if j.ends <= now {
				w.end(j.claim)
			}
			return j.ends <= now
		})
		slicesAsked += profile.Slices
		card, start, ok := r.choose(w, profile)
		if !ok {
			continue
		}
		got, gotSlices = got+1, gotSlices+profile.Slices
		running = append(running, job{now + stays, w.start(card, start, profile)})
	}
	return 100 * float64(got) / float64(jobs), 100 * float64(gotSlices) / float64(slicesAsked)
}

func newLab(t testing.TB, cards int, seed uint64) *lab {
	w := &lab{profiles: basic(4, 8), rng: rand.New(rand.NewPCG(seed, 2))}
	for i := range cards {
		w.cards = append(w.cards, gpu.Card{UUID: "GPU-" + strconv.Itoa(i), Index: i, Model: "A100", MIG: true, Profiles: w.profiles})
	}
	tables, err := gpu.NewTables(w.cards, gpu.LabMix())
	if err != nil {
		t.Fatal(err)
	}
	w.policy = gpu.Policy{Mode: gpu.MIGDynamic, Tables: tables}
	return w
}

func (w *lab) draw(rng *rand.Rand) gpu.Profile {
	n := rng.IntN(100)
	for _, p := range w.profiles {
		if n -= gpu.LabMix()[strconv.Itoa(p.Slices)+"g"]; n < 0 {
			return p
		}
	}
	panic("the mix isn't of a hundred parts")
}

func meanSlices(profiles []gpu.Profile) float64 {
	sum := 0
	for _, p := range profiles {
		sum += p.Slices * gpu.LabMix()[strconv.Itoa(p.Slices)+"g"]
	}
	return float64(sum) / 100
}

// start puts the job where it was decided, unless the decision has done so.
func (w *lab) start(card, start int, p gpu.Profile) gpu.Claim {
	c := &w.cards[card]
	at := slices.IndexFunc(c.Instances, func(in gpu.Instance) bool { return in.Start == start })
	if at < 0 {
		at = len(c.Instances)
		w.create(card, p, start)
	}
	claim := gpu.Claim{State: gpu.Running, Devices: []gpu.Grant{{UUID: c.Instances[at].UUID}}}
	w.claims = append(w.claims, claim)
	return claim
}

func (w *lab) create(card int, p gpu.Profile, start int) {
	w.made++
	place := p.Placements[slices.IndexFunc(p.Placements, func(at gpu.Placement) bool { return at.Start == start })]
	w.cards[card].Instances = append(w.cards[card].Instances, gpu.Instance{
		UUID: "MIG-" + strconv.Itoa(w.made), Profile: p.Name, Slices: p.Slices, SlicesOfCard: 7,
		Start: start, Size: place.Size, MemoryBytes: p.MemoryBytes,
	})
}

func (w *lab) end(c gpu.Claim) {
	uuid := c.Devices[0].UUID
	w.claims = slices.DeleteFunc(w.claims, func(o gpu.Claim) bool { return o.Devices[0].UUID == uuid })
	if !w.keeps {
		w.destroy(uuid)
	}
}

func (w *lab) destroy(uuid string) {
	for i := range w.cards {
		w.cards[i].Instances = slices.DeleteFunc(w.cards[i].Instances, func(in gpu.Instance) bool { return in.UUID == uuid })
	}
}

// room returns the places for p on a card beside its instances.
func (w *lab) room(card int, p gpu.Profile) []gpu.Placement {
	compute, memory := p.Slices, p.MemoryBytes
	for _, in := range w.cards[card].Instances {
		compute, memory = compute+in.Slices, memory+in.MemoryBytes
	}
	_, most := gpu.Capacity(w.profiles)
	if compute > 7 || memory > most {
		return nil
	}
	var places []gpu.Placement
	for _, at := range p.Placements {
		if !slices.ContainsFunc(w.cards[card].Instances, func(in gpu.Instance) bool {
			return at.Overlaps(gpu.Placement{Start: in.Start, Size: in.Size})
		}) {
			places = append(places, at)
		}
	}
	return places
}

func (w *lab) used(card int) int {
	n := 0
	for _, in := range w.cards[card].Instances {
		n += in.Slices
	}
	return n
}

// least chooses the place that costs least; of equals the lowest card, then
// the lowest place.
func least(cost func(w *lab, card int, p gpu.Profile, at gpu.Placement) int) func(w *lab, p gpu.Profile) (int, int, bool) {
	return func(w *lab, p gpu.Profile) (card, start int, ok bool) {
		lowest := 0
		for i := range w.cards {
			for _, at := range w.room(i, p) {
				if c := cost(w, i, p, at); !ok || c < lowest {
					card, start, lowest, ok = i, at.Start, c, true
				}
			}
		}
		return card, start, ok
	}
}

func rows() []row {
	return []row{
		{"static layout, best fit", staticLayout},
		{"spread (least loaded)", least(func(w *lab, card int, _ gpu.Profile, _ gpu.Placement) int { return w.used(card) })},
		{"random", least(func(w *lab, _ int, _ gpu.Profile, _ gpu.Placement) int { return w.rng.IntN(1 << 30) })},
		{"first fit", least(func(*lab, int, gpu.Profile, gpu.Placement) int { return 0 })},
		{"HAMi order + binpack", least(hami)},
		{"min fragmentation growth", least(func(w *lab, card int, _ gpu.Profile, at gpu.Placement) int {
			return w.fragmentation(card, &at) - w.fragmentation(card, nil)
		})},
		{"ds01", ours},
	}
}

// hami is the order of HAMi on the fullest card: 1g and 3g from the high end,
// 2g and 4g from the low one.
func hami(w *lab, card int, p gpu.Profile, at gpu.Placement) int {
	start := at.Start
	if p.Slices%2 == 1 {
		start = 8 - start
	}
	return (7-w.used(card))*16 + start
}

// fragmentation is the score of arXiv 2511.18906: of each profile that the
// free memory slices could hold, the places that something stands in, weighted
// by their size.
func (w *lab) fragmentation(card int, more *gpu.Placement) int {
	var taken []gpu.Placement
	if more != nil {
		taken = append(taken, *more)
	}
	free := 8
	for _, in := range w.cards[card].Instances {
		taken = append(taken, gpu.Placement{Start: in.Start, Size: in.Size})
	}
	for _, at := range taken {
		free -= at.Size
	}
	score := 0
	for _, p := range w.profiles {
		for _, at := range p.Placements {
			if at.Size <= free && slices.ContainsFunc(taken, at.Overlaps) {
				score += at.Size
			}
		}
	}
	return score
}

// staticLayout has the cards cut once and for all, in turn: one for each kind of
// job. A job gets the smallest free instance that is large enough.
func staticLayout(w *lab, p gpu.Profile) (card, start int, ok bool) {
	if w.static == nil {
		layouts := [][]int{{7}, {4, 2, 1}, {3, 2, 1, 1}, {1, 1, 1, 1, 1, 1, 1}}
		for i := range w.cards {
			for n, s := range layouts[i%len(layouts)] {
				w.static = append(w.static, gpu.Instance{Index: i, Slices: s, Start: n})
			}
		}
	}
	var best *gpu.Instance
	for i := range w.static {
		in := &w.static[i]
		inUse := slices.ContainsFunc(w.cards[in.Index].Instances, func(o gpu.Instance) bool { return o.Start == in.Start })
		if !inUse && in.Slices >= p.Slices && (best == nil || in.Slices < best.Slices) {
			best = in
		}
	}
	if best == nil {
		return 0, 0, false
	}
	w.made++
	w.cards[best.Index].Instances = append(w.cards[best.Index].Instances, gpu.Instance{
		UUID: "MIG-" + strconv.Itoa(w.made), Slices: best.Slices, Start: best.Start, Size: 1,
	})
	return best.Index, best.Start, true
}

// ours is what Repartition plans, carried out.
func ours(w *lab, p gpu.Profile) (card, start int, ok bool) {
	w.keeps = true
	plan, err := gpu.Repartition(gpu.Host{Cards: w.cards, Claims: w.claims}, []gpu.Want{{p.Name}}, w.policy, noon)
	if err != nil {
		return 0, 0, false
	}
	for _, s := range plan.Steps {
		switch s.Verb {
		case gpu.Destroy:
			w.destroy(s.Instance)
		case gpu.Create:
			w.create(s.Card, p, s.At.Start)
		case gpu.EnableMIG, gpu.DisableMIG:
			panic("MIG is on")
		}
	}
	return plan.Picks[0].Card, plan.Picks[0].At.Start, true
}

// A result is a row's mean over the seeds, two numbers for each column.
type result []float64

func acceptance(t testing.TB, r row, seeds, jobs int) result {
	var all result
	for _, c := range columns() {
		share, weighted := 0.0, 0.0
		for seed := range seeds {
			s, w := accepted(t, r, c, uint64(seed)+1, jobs)
			share, weighted = share+s, weighted+w
		}
		all = append(all, share/float64(seeds), weighted/float64(seeds))
	}
	return all
}

func (r result) String() string {
	var cells []string
	for i := 0; i < len(r); i += 2 {
		cells = append(cells, fmt.Sprintf("%.1f / %.1f", r[i], r[i+1]))
	}
	return strings.Join(cells, " | ")
}

// No other policy places more than ours, in any column.
func TestNoPolicyPlacesMore(t *testing.T) {
	all := rows()
	mine := acceptance(t, all[len(all)-1], 4, 3000)
	for _, r := range all[:len(all)-1] {
		theirs := acceptance(t, r, 4, 3000)
		for i := range mine {
			if cmp.Less(mine[i], theirs[i]) {
				t.Errorf("%s places more in number %d: %s, ours %s", r.name, i, theirs, mine)
			}
		}
	}
}

// BenchmarkAcceptance prints the table of docs/developers/benchmarks.md.
func BenchmarkAcceptance(b *testing.B) {
	for b.Loop() {
		for _, r := range rows() {
			b.Logf("| %s | %s |", r.name, acceptance(b, r, 5, 6000))
		}
	}
}
