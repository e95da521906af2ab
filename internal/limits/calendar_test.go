package limits_test

import (
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
)

func TestHoursAreThoseOfTheClockOnTheWall(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	weekdays := [7]bool{1: true, 2: true, 3: true, 4: true, 5: true}
	night := limits.Hours{Days: weekdays, From: 20 * 60, To: 8 * 60}
	weekend := limits.Hours{Days: [7]bool{0: true, 6: true}}
	for text, want := range map[string]struct{ night, weekend bool }{
		"2030-03-29T19:59": {false, false}, // a Friday
		"2030-03-29T20:00": {true, false},
		"2030-03-30T07:59": {true, true}, // Friday's night
		"2030-03-30T08:00": {false, true},
		"2030-03-30T23:00": {false, true},
		"2030-03-31T01:59": {false, true}, // before the clocks go on
		"2030-03-31T03:00": {false, true},
		"2030-04-01T07:00": {false, false}, // Sunday has no night in it
		"2030-10-28T20:30": {true, false},  // the day after they go back
		"2030-10-29T07:30": {true, false},
	} {
		at, err := time.ParseInLocation("2006-01-02T15:04", text, berlin)
		if err != nil {
			t.Fatal(err)
		}
		if night.Contains(at) != want.night || weekend.Contains(at) != want.weekend {
			t.Errorf("%s: night %t, weekend %t", text, night.Contains(at), weekend.Contains(at))
		}
	}
}

func TestCalendarsAreRead(t *testing.T) {
	d, _ := decode(t, `policies: {calendar: [{days: sat-sun, idle_factor: 2}, {days: "mon,wed", hours: "20:00-08:00", idle_factor: null}]}`)
	for _, v := range d.Resolve(account.Account{Name: "x"}, noon).Values() {
		if want := "sat sun: idle_timeout ×2; mon wed 20:00-08:00: idle left alone"; v.Key == "policies.calendar" && v.Text != want {
			t.Errorf("got %s, want %s", v.Text, want)
		}
	}
	for text, want := range map[string]string{
		"[{days: sat-sun}]":                                 "policies.calendar[0] needs days and idle_factor",
		"[{days: tag, idle_factor: 1}]":                     `"tag" are no days`,
		"[{days: mon, idle_factor: 0}]":                     "a number above 0",
		"[{days: mon, hours: 8-9, idle_factor: 2}]":         `"8-9" are no hours`,
		"[{days: mon, hours: 08:00-08:00, idle_factor: 2}]": "are no hours",
		"[{days: mon, when: 1, idle_factor: 2}]":            `unknown key "when"`,
		"mon":                                               "where a list belongs",
	} {
		_, _, err := limits.Decode(limits.File{Name: "l.yaml", Data: []byte("policies: {calendar: " + text + "}")}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", text, err, want)
		}
	}
}

func TestTypesOnlyMakeLimitsStricter(t *testing.T) {
	d, _ := decode(t, `{defaults: {idle_timeout: 2h, max_runtime: null, stop_timeout: 30s},
		container_types: {devcontainer: {idle_timeout: null, max_runtime: 168h}, compose: {idle_timeout: 30m, stop_timeout: 45s}, unknown: {idle_timeout: 15m}}}`)
	own := d.Resolve(account.Account{Name: "x"}, noon)
	hours := func(n float64) quantity.Limit[time.Duration] {
		return quantity.To(time.Duration(n * float64(time.Hour)))
	}
	for kind, want := range map[string]limits.Type{
		"devcontainer": {hours(168), hours(2), quantity.To(30 * time.Second)},
		"compose":      {quantity.None[time.Duration](), hours(0.5), quantity.To(30 * time.Second)},
		"docker":       {quantity.None[time.Duration](), hours(2), quantity.To(30 * time.Second)},
		"":             {quantity.None[time.Duration](), hours(0.25), quantity.To(30 * time.Second)},
	} {
		l := own.Within(d.Type(kind))
		if got := (limits.Type{MaxRuntime: l.MaxRuntime, IdleTimeout: l.IdleTimeout, StopTimeout: l.StopTimeout}); got.IdleTimeout != want.IdleTimeout || got.StopTimeout != want.StopTimeout ||
			got.MaxRuntime.Unlimited != want.MaxRuntime.Unlimited || !want.MaxRuntime.Unlimited && got.MaxRuntime != want.MaxRuntime {
			t.Errorf("%q: %+v, want %+v", kind, got, want)
		}
	}
}
