package gpu_test

import (
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/gpu"
)

func reserved(uid int, device string, from, until time.Duration) gpu.Reservation {
	return gpu.Reservation{UID: uid, Login: "u", Devices: []string{device}, From: noon.Add(from), Until: noon.Add(until)}
}

func TestKeeping(t *testing.T) {
	const h = time.Hour
	for name, c := range map[string]struct {
		all   []gpu.Reservation
		uid   int
		lasts time.Duration // 0: nobody knows
		kept  bool
	}{
		"while it holds":                          {[]gpu.Reservation{reserved(1, "0", -h, h)}, 2, 1, true},
		"not from its own person":                 {[]gpu.Reservation{reserved(1, "0", -h, h)}, 1, h, false},
		"not once it is over":                     {[]gpu.Reservation{reserved(1, "0", -h, 0)}, 2, h, false},
		"another device":                          {[]gpu.Reservation{reserved(1, "1", -h, h)}, 2, h, false},
		"what reaches into it":                    {[]gpu.Reservation{reserved(1, "0", 2*h, 3*h)}, 2, 2*h + 1, true},
		"what is over before":                     {[]gpu.Reservation{reserved(1, "0", 2*h, 3*h)}, 2, 2 * h, false},
		"nobody knows, a day before":              {[]gpu.Reservation{reserved(1, "0", gpu.Notice-1, 30*h)}, 2, 0, true},
		"nobody knows, earlier":                   {[]gpu.Reservation{reserved(1, "0", gpu.Notice, 30*h)}, 2, 0, false},
		"what may last for longer, earlier":       {[]gpu.Reservation{reserved(1, "0", gpu.Notice, 30*h)}, 2, 48 * h, false},
		"what reaches from one's own into a next": {[]gpu.Reservation{reserved(2, "0", -h, h), reserved(1, "0", h, 2*h)}, 2, 90 * time.Minute, true},
		"one's own, and done before the next":     {[]gpu.Reservation{reserved(2, "0", -h, h), reserved(1, "0", h, 2*h)}, 2, h, false},
		"of two at once the one that began first": {[]gpu.Reservation{reserved(2, "0", -h, h), reserved(1, "0", -2*h, 2*h)}, 2, 1, true},
		"and that one has it":                     {[]gpu.Reservation{reserved(2, "0", -h, h), reserved(1, "0", -2*h, 2*h)}, 1, h, false},
		"one without an end, for ever":            {[]gpu.Reservation{{UID: 1, Devices: []string{"0"}, From: noon.Add(-1000 * h)}}, 2, 1, true},
		"one's own without an end, nobody knows":  {[]gpu.Reservation{{UID: 2, Devices: []string{"0"}, From: noon.Add(-h)}}, 2, 0, false},
		"by the UUID":                             {[]gpu.Reservation{reserved(1, whole(1)[0].UUID, -h, h)}, 2, h, true},
	} {
		t.Run(name, func(t *testing.T) {
			until := time.Time{}
			if c.lasts > 0 {
				until = noon.Add(c.lasts)
			}
			devices := whole(2)
			got := gpu.Keep(devices, c.all, noon).From(devices[0].UUID, c.uid, noon, until)
			if (got != nil) != c.kept {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestACardsIndexStandsForItsInstances(t *testing.T) {
	devices := gpu.Devices([]gpu.Card{card(0), card(1, "1g.10gb", "1g.10gb")})
	all := []gpu.Reservation{reserved(1, "1", -time.Hour, time.Hour)}
	k := gpu.Keep(devices, all, noon)
	for _, d := range devices {
		if got := k.From(d.UUID, 2, noon, noon.Add(1)); (got != nil) != (d.Card == 1) {
			t.Errorf("%s: %+v", d.Slot, got)
		}
	}
}

func TestWarnings(t *testing.T) {
	devices := whole(3)
	all := []gpu.Reservation{
		reserved(1, "1", 3*gpu.Notice, 4*gpu.Notice), reserved(1, "0", 2*gpu.Notice-1, 3*gpu.Notice), reserved(1, "2", -1, 1),
	}
	claims := []gpu.Claim{
		hold(devices, 2, gpu.Running, "0"), hold(devices, 2, gpu.Running, "1"), hold(devices, 1, gpu.Running, "2"),
	}
	claims[0].ID = "told"
	got := gpu.Keep(devices, all, noon).Warnings(claims, noon)
	if len(got) != 1 || got[0].Claim != "told" || got[0].UID != 2 || got[0].Device.Slot != "0" || got[0].Reservation.UID != 1 {
		t.Errorf("got %+v", got)
	}
	claims[0].State = gpu.Released
	if got := gpu.Keep(devices, all, noon).Warnings(claims, noon); len(got) != 0 {
		t.Errorf("who gave it back is told %+v", got)
	}
}

func TestClash(t *testing.T) {
	const h = time.Hour
	all := []gpu.Reservation{reserved(1, "0", 0, h), reserved(2, "0", 2*h, 3*h), reserved(2, "1", 0, 9*h)}
	for name, c := range map[string]struct {
		uid         int
		from, until time.Duration
		clash       bool
		next        time.Duration
	}{
		"free":                            {3, h, 2 * h, false, 0},
		"its own":                         {1, 0, h, false, 0},
		"taken, and free right after":     {3, 0, h, true, h},
		"the gap is too short":            {3, 0, 2 * h, true, 3 * h},
		"it begins before the other ends": {3, h / 2, 3 * h / 2, true, h},
	} {
		t.Run(name, func(t *testing.T) {
			clash, next := gpu.Clash(whole(1), all, c.uid, noon.Add(c.from), noon.Add(c.until))
			if (clash != nil) != c.clash || c.clash && !next.Equal(noon.Add(c.next)) {
				t.Errorf("got %+v, then %s", clash, next)
			}
		})
	}
	endless := append(slices.Clone(all), gpu.Reservation{UID: 5, Devices: []string{"0"}, From: noon.Add(4 * h)})
	if clash, next := gpu.Clash(whole(1), endless, 3, noon, noon.Add(2*h)); clash == nil || !next.IsZero() {
		t.Errorf("no time is ever free: %+v, then %s", clash, next)
	}
	if clash, next := gpu.Clash(whole(1), all, 3, noon, time.Time{}); clash == nil || !next.Equal(noon.Add(3*h)) {
		t.Errorf("without an end: %+v, then %s", clash, next)
	}
}
