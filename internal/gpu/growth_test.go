package gpu_test

import (
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

// A load is how much one decision has to look at.
type load struct{ cards, claims, people, queued int }

// BenchmarkGrowth tells the time that decisions take as one dimension of the
// load grows and the rest stays: of one request, static and dynamic, and of one
// look at the queue. It is meant to run once, -benchtime 1x; 'make bench' makes
// a table of it.
func BenchmarkGrowth(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the daemon has it
	full := load{cards: 64, claims: 300, people: 500, queued: 300}
	loads := []load{full}
	for _, n := range []int{1, 8, 128} {
		l := full
		l.cards, l.claims = n, n*300/64
		loads = append(loads, l)
	}
	for _, n := range []int{0, 100, 448} {
		l := full
		l.claims = n
		loads = append(loads, l)
	}
	for _, n := range []int{300, 5000} {
		l := full
		l.people = n
		loads = append(loads, l)
	}
	for _, n := range []int{0, 30, 1000} {
		l := full
		l.queued, l.people = n, max(l.people, n)
		loads = append(loads, l)
	}
	for _, l := range loads {
		b.Run(fmt.Sprintf("%d/%d/%d/%d", l.cards, l.claims, l.people, l.queued), func(b *testing.B) { l.measure(b) })
	}
}

func (l load) measure(b *testing.B) {
	b.Helper()
	pool := l.pool()
	wish := withShare(quota(4, 2, true), 3*quantity.FullGPU)
	times(b, "static", 5000, func() {
		_, err := gpu.Allocate(pool, alice, gpu.Request{Count: 1}, wish)
		l.expect(b, err)
	})
	h, p := l.host(b)
	times(b, "dynamic", 5000, func() {
		_, err := gpu.Repartition(h, wants("1g.10gb"), p, noon)
		l.expect(b, err)
	})
	for name, q := range map[string]gpu.Queue{"look": l.queue(pool), "cutting": l.queueToCut(b)} {
		times(b, name, 200, func() {
			if places := gpu.Pass(q, noon); len(places) != l.queued {
				b.Fatalf("%d places", len(places))
			}
		})
	}
}

// expect fails where a decision isn't what it should be: a full host refuses.
func (l load) expect(b *testing.B, err error) {
	if (err != nil) != (l.claims == 7*l.cards) {
		b.Fatal(err)
	}
}

func times(b *testing.B, what string, n int, do func()) {
	b.Helper()
	took := make([]time.Duration, n)
	for i := range n {
		began := time.Now()
		do()
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[n/2].Nanoseconds()), what+"-p50-ns")
	b.ReportMetric(float64(took[n*99/100].Nanoseconds()), what+"-p99-ns")
}

// held reports whether the instance of that number is, so that claims spread
// over the cards.
func (l load) held(i int) bool { n := 7 * l.cards; return i*l.claims/n != (i+1)*l.claims/n }

func (l load) pool() gpu.Pool {
	pool := manyInstances(l.cards)
	for i, d := range pool.Devices {
		if l.held(i) {
			pool.Claims = append(pool.Claims, gpu.Claim{
				ID: fmt.Sprint("x", i), UID: 10_000 + i%350, State: gpu.Running, Devices: []gpu.Grant{{UUID: d.UUID, Slot: d.Slot, Share: d.Share}},
			})
		}
	}
	return pool
}

func (l load) host(b *testing.B) (gpu.Host, gpu.Policy) {
	b.Helper()
	lines := make([]string, l.cards)
	for i := range lines {
		lines[i] = "on"
		for start := range 7 {
			lines[i] += fmt.Sprintf(" 1g.10gb@%d", start)
			if l.held(7*i + start) {
				lines[i] += "!"
			}
		}
	}
	h, p := deck(b, lines...)
	p.KeepFull, p.Hysteresis = 2, time.Minute
	return h, p
}

// queueToCut is the queue where cards are cut, with six wishes.
func (l load) queueToCut(b *testing.B) gpu.Queue {
	b.Helper()
	h, p := l.host(b)
	for i := range h.Claims {
		c := &h.Claims[i]
		c.ID, c.UID, c.Devices[0].Share = fmt.Sprint("x", i), 10_000+i%350, quantity.ShareOf(1, 7)
	}
	q := l.queue(gpu.Pool{
		Devices: gpu.Devices(h.Cards), Claims: h.Claims, Taken: h.Taken, Cutting: &gpu.Cutting{Cards: h.Cards, Policy: p, FreedAt: h.FreedAt},
	})
	for i := range q.Waiting[:max(l.queued-1, 0)] {
		q.Waiting[i].Request = parsed(b, []string{"1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb", "2", "mig"}[i%6])
	}
	if l.queued > 0 {
		head := &q.Waiting[l.queued-1]
		head.Request = parsed(b, fmt.Sprint(l.cards, "xfull"))
		q.People[head.UID] = gpu.Standing{Quota: quota(2*l.cards, l.cards, true)}
	}
	return q
}

// queue is one in which the first wants more than is free, so that nobody
// behind gets any of it, and all must be looked at.
func (l load) queue(pool gpu.Pool) gpu.Queue {
	q := gpu.Queue{Pool: pool, People: map[int]gpu.Standing{}, Ends: map[string]time.Time{}}
	for i, c := range pool.Claims {
		q.Ends[c.ID] = noon.Add(time.Duration(1+i) * time.Minute)
	}
	for uid := range l.people {
		q.People[10_000+uid] = gpu.Standing{Quota: quota(4, 2, false), Priority: 10 * (uid % 3), Hours: float64(uid % 7), Runtime: 24 * time.Hour}
	}
	for i := range l.queued {
		q.Waiting = append(q.Waiting, ticket(fmt.Sprintf("t%04d", i), 10_000+l.people-l.queued+i, 1+i%2, time.Duration(i)*time.Minute))
	}
	if l.queued > 0 {
		head := &q.Waiting[l.queued-1]
		head.JoinedAt, head.Request = noon.Add(-gpu.Patience), gpu.Request{Count: 7 * l.cards}
		most := quota(7*l.cards, 7*l.cards, false)
		q.People[head.UID] = gpu.Standing{Quota: most}
	}
	return q
}
