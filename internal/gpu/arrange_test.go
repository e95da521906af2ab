package gpu_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// shop is the pool of a deck's cards, which may be cut.
func shop(t testing.TB, lines ...string) gpu.Pool {
	t.Helper()
	h, p := deck(t, lines...)
	return gpu.Pool{
		Devices: gpu.Devices(h.Cards), Claims: h.Claims, Taken: h.Taken, Cutting: &gpu.Cutting{Cards: h.Cards, Policy: p, FreedAt: h.FreedAt},
	}
}

func plenty() gpu.Quota {
	return gpu.Quota{
		MaxDevices: quantity.Limit[int]{Unlimited: true}, MaxPerContainer: quantity.Limit[int]{Unlimited: true},
		MaxShare: quantity.Limit[quantity.GPUShare]{Unlimited: true}, AllowFull: true,
	}
}

func parsed(t testing.TB, text string) gpu.Request {
	t.Helper()
	r, err := gpu.ParseRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCardsAreCutForWhatIsAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		cards []string
		ask   string
		want  string
	}{
		"a profile on a card with nothing on it":   {[]string{"on"}, "3g.40gb", "create 0:3g.40gb@4; get 0:3g.40gb@4*"},
		"the smallest there is, for a number":      {[]string{"off", "on"}, "1", "create 1:1g.10gb@6; get 1:1g.10gb@6*"},
		"one that stands free":                     {[]string{"on 1g.10gb@6"}, "1", "get 0:1g.10gb@6"},
		"any instance":                             {[]string{"on"}, "mig", "create 0:1g.10gb@6; get 0:1g.10gb@6*"},
		"enough memory":                            {[]string{"on"}, "30GiB", "create 0:3g.40gb@4; get 0:3g.40gb@4*"},
		"a whole card where no instance is enough": {[]string{"on", "off"}, "79GiB", "get 1:full"},
		"a whole card that is free":                {[]string{"on", "off"}, "full", "get 1:full"},
		"a whole card that is made":                {[]string{"on 1g.10gb@6"}, "full", "destroy 0:1g.10gb@6; disable MIG 0; get 0:full*"},
		"a card without instances":                 {[]string{"off"}, "2g.20gb", "enable MIG 0; create 0:2g.20gb@4; get 0:2g.20gb@4*"},
		"a mix":                                    {[]string{"on", "off"}, "1g.10gb,full", "create 0:1g.10gb@6; get 0:1g.10gb@6*; get 1:full"},
		"a free one cut to size":                   {[]string{"on 3g.40gb@4 2g.20gb@0! 1g.10gb@2! 1g.10gb@3!"}, "mig", "destroy 0:3g.40gb@4; create 0:1g.10gb@6; get 0:1g.10gb@6*"},
		"all there are":                            {[]string{"on 1g.10gb@0"}, "all", "get 0:1g.10gb@0"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := shop(t, c.cards...)
			plan, err := gpu.Arrange(pool, 1, parsed(t, c.ask), plenty(), time.Time{})
			if diff := cmp.Diff(c.want, told(plan)); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
			for i, d := range pool.Picked(plan) {
				if d.Profile != plan.Picks[i].Profile || d.Share != plan.Picks[i].Share || (d.UUID == "") != (plan.Picks[i].Step >= 0) {
					t.Errorf("picked %+v for %+v", d, plan.Picks[i])
				}
			}
		})
	}
}

func TestNoCardIsCutBeyondALimit(t *testing.T) {
	half := quantity.To(quantity.FullGPU / 2)
	for name, c := range map[string]struct {
		cards  []string
		ask    string
		quota  func(*gpu.Quota)
		code   string
		says   string
		holder int // of what is held; the one who asks is 1
	}{
		"devices of a person": {[]string{"on 1g.10gb@0!"}, "1g.10gb", func(q *gpu.Quota) { q.MaxDevices = quantity.To(1) }, "USER_AT_LIMIT", "1/1", 1},
		"devices together":    {[]string{"on 1g.10gb@0!"}, "2x1g.10gb", func(q *gpu.Quota) { q.MaxDevices = quantity.To(2) }, "EXCEEDS_TOTAL_LIMIT", "1+2>2", 1},
		"in one container":    {[]string{"on"}, "2x1g.10gb", func(q *gpu.Quota) { q.MaxPerContainer = quantity.To(1) }, "EXCEEDS_CONTAINER_LIMIT", "2>1", 2},
		"the share":           {[]string{"on"}, "4g.40gb", func(q *gpu.Quota) { q.MaxShare = half }, "AGGREGATE_GPU_QUOTA_EXCEEDED", "4/7>1/2", 2},
		"the share, with no room for it either": {
			[]string{"on 1g.10gb@0!"}, "4g.40gb", func(q *gpu.Quota) { q.MaxShare = half }, "AGGREGATE_GPU_QUOTA_EXCEEDED", "4/7>1/2", 2,
		},
		"the share, only since no smaller one has room": {
			[]string{"on 4g.40gb@0! 1g.10gb@4! 1g.10gb@5! 1g.10gb@6!", "off reset"}, "1", func(q *gpu.Quota) { q.MaxShare = half }, "NO_GPU_AVAILABLE", "no room for smaller", 2,
		},
		"whole cards":       {[]string{"off"}, "full", func(q *gpu.Quota) { q.AllowFull = false }, "FULL_GPU_NOT_ALLOWED", "whole card", 2},
		"an unknown kind":   {[]string{"on"}, "5g.50gb", func(*gpu.Quota) {}, "NO_SUCH_DEVICE", "no card of this host offers that", 2},
		"no room":           {[]string{"on 7g.80gb@0!"}, "1g.10gb", func(*gpu.Quota) {}, "NO_GPU_AVAILABLE", "no room now for 1g.10gb", 2},
		"too much memory":   {[]string{"on"}, "100GiB", func(*gpu.Quota) {}, "NO_SUCH_DEVICE", "no card", 2},
		"a card of others'": {[]string{"off!"}, "1g.10gb", func(*gpu.Quota) {}, "NO_GPU_AVAILABLE", "no room", 2},
	} {
		t.Run(name, func(t *testing.T) {
			q := plenty()
			c.quota(&q)
			pool := shop(t, c.cards...)
			for i := range pool.Claims {
				pool.Claims[i].UID = c.holder
			}
			_, err := gpu.Arrange(pool, 1, parsed(t, c.ask), q, time.Time{})
			p, ok := err.(*problem.Error) //nolint:errorlint // it is one
			if !ok || p.Code != c.code || !strings.Contains(p.Why.Error(), c.says) || p.Next == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The queue, on cards that may be cut.
func TestWhoWaitsHasCardsCut(t *testing.T) {
	now := time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		cards    []string
		asks     []string // who joined first stands first
		reserved []string // for somebody else
		want     []string // what each gets, or why it waits
	}{
		"a profile that isn't there yet": {[]string{"on"}, []string{"3g.40gb"}, nil, []string{"create 0:3g.40gb@4; get 0:3g.40gb@4*"}},
		"each on a card of their own":    {[]string{"on", "on"}, []string{"3g.40gb", "1g.10gb"}, nil, []string{"create 0:3g.40gb@4; get 0:3g.40gb@4*", "create 1:1g.10gb@6; get 1:1g.10gb@6*"}},
		"on one card, one after the other": {
			[]string{"on"}, []string{"3g.40gb", "1g.10gb"}, nil, []string{"create 0:3g.40gb@4; get 0:3g.40gb@4*", "its devices are in use"},
		},
		"one that could never be had keeps nobody up": {[]string{"on"}, []string{"9g.90gb", "1g.10gb"}, nil, []string{"limited", "create 0:1g.10gb@6; get 0:1g.10gb@6*"}},
		"the emptier card is kept for who is ahead": {
			[]string{"on 1g.10gb@6!", "on 3g.40gb@4!"}, []string{"7g.80gb", "1g.10gb"}, nil, []string{"its devices are in use", "create 1:1g.10gb@3; get 1:1g.10gb@3*"},
		},
		"both cards are kept for who wants two": {
			[]string{"on 1g.10gb@6!", "on 3g.40gb@4!"}, []string{"2x7g.80gb", "1g.10gb"}, nil, []string{"its devices are in use", "its devices are in use"},
		},
		"what stands free on another card is had": {
			[]string{"on 1g.10gb@6!", "on 3g.40gb@4! 1g.10gb@0"}, []string{"7g.80gb", "1g.10gb"}, nil, []string{"its devices are in use", "get 1:1g.10gb@0"},
		},
		"who asks the same twice, and another": {
			[]string{"on 7g.80gb@0!", "on"},
			[]string{"7g.80gb", "7g.80gb", "7g.80gb", "1g.10gb"},
			nil,
			[]string{"create 1:7g.80gb@0; get 1:7g.80gb@0*", "its devices are in use", "its devices are in use", "its devices are in use"},
		},
		"a card that can't give it isn't kept for it": {
			[]string{"on reset", "off!"}, []string{"full", "1g.10gb"}, nil, []string{"its devices are in use", "create 0:1g.10gb@6; get 0:1g.10gb@6*"},
		},
		"nor one that a stranger keeps from being cut": {
			[]string{"on 1g.10gb@6?", "on 1g.10gb@6!"}, []string{"7g.80gb", "1g.10gb"}, nil, []string{"its devices are in use", "its devices are in use"},
		},
		"nothing on a card that is reserved": {[]string{"on", "on"}, []string{"1g.10gb"}, []string{"0"}, []string{"create 1:1g.10gb@6; get 1:1g.10gb@6*"}},
		"nothing where all are reserved":     {[]string{"on"}, []string{"1g.10gb"}, []string{"0"}, []string{"limited"}},
		"a card with a reserved instance is not cut": {
			[]string{"on 1g.10gb@6", "on"}, []string{"3g.40gb"}, []string{"MIG-0-1g.10gb-6"}, []string{"create 1:3g.40gb@4; get 1:3g.40gb@4*"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := gpu.Queue{Pool: shop(t, c.cards...), People: map[int]gpu.Standing{}}
			for i, ask := range c.asks {
				q.People[10+i] = gpu.Standing{Quota: plenty()}
				q.Waiting = append(q.Waiting, gpu.Ticket{ID: string(rune('a' + i)), UID: 10 + i, Request: parsed(t, ask), JoinedAt: now.Add(time.Duration(i) * time.Second)})
			}
			if c.reserved != nil {
				q.Reservations = []gpu.Reservation{{UID: 99, Devices: c.reserved, From: now.Add(-time.Hour)}}
			}
			var got []string
			for _, p := range gpu.Pass(q, now) {
				switch {
				case p.Granted != nil:
					got = append(got, told(p.Plan))
				case p.Limited:
					got = append(got, "limited")
				default:
					got = append(got, p.Why)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// That somebody is at their limit says nothing of who asks for the same.
func TestALimitOfWhoIsAheadIsNobodyElses(t *testing.T) {
	now := time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)
	q := gpu.Queue{Pool: shop(t, "on 1g.10gb@0!"), People: map[int]gpu.Standing{}}
	q.Pool.Claims[0].UID = 1
	for uid := range 3 {
		bound := plenty()
		bound.MaxDevices = quantity.To(1)
		q.People[uid+1] = gpu.Standing{Quota: bound}
		q.Waiting = append(q.Waiting, gpu.Ticket{ID: string(rune('a' + uid)), UID: uid + 1, Request: parsed(t, "1g.10gb"), JoinedAt: now.Add(time.Duration(uid))})
	}
	places := gpu.Pass(q, now)
	if places[0].Granted != nil || !places[0].Limited || len(places[1].Granted) != 1 {
		t.Errorf("%+v", places)
	}
}

// Who holds all there is of what they ask for keeps nobody up, and that others
// could have it changes nothing.
func TestWhatOneHoldsOneselfIsNoChance(t *testing.T) {
	for _, mode := range []gpu.MIGMode{gpu.MIGDynamic, gpu.MIGStatic} {
		q := gpu.Queue{Pool: shop(t, "off!", "on reset 7g.80gb@0!"), People: map[int]gpu.Standing{1: {Quota: plenty()}, 2: {Quota: plenty()}}}
		q.Pool.Cutting.Policy.Mode = mode
		q.Pool.Claims[0].UID, q.Pool.Claims[1].UID = 2, 3
		for i := range 2 {
			q.Waiting = append(q.Waiting, gpu.Ticket{ID: string(rune('a' + i)), UID: 1 + i, Request: parsed(t, "full"), JoinedAt: noon.Add(time.Duration(i))})
		}
		if places := gpu.Pass(q, noon); places[0].Limited || !places[1].Limited {
			t.Errorf("%s: %+v", mode, places)
		}
	}
}
