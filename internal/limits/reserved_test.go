package limits_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/limits"
)

func TestReservations(t *testing.T) {
	doc, warnings, err := limits.Decode(limits.File{Name: "l.yaml", Data: []byte(`user_overrides:
  alice:
    reserved_gpus: [0, "1.2"]
    reservation_start: 2030-01-10
    reservation_end: 2030-01-12
    reason: the exam
  bob:
    max_mig_instances: 4
  carol:
    reserved_gpus: [3]
    reservation_start: 2030-01-10T08:00:00Z
    reservation_end: null
`)}, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	day := func(d, h int) time.Time { return time.Date(2030, 1, d, h, 0, 0, 0, time.UTC) }
	want := []limits.Reservation{
		{
			Login: "alice", Devices: []string{"0", "1.2"}, From: day(10, 0), Until: day(13, 0), Reason: "the exam",
			Source: limits.Source{Rule: "user_overrides.alice", File: "l.yaml", Line: 3},
		},
		{Login: "carol", Devices: []string{"3"}, From: day(10, 8), Source: limits.Source{Rule: "user_overrides.carol", File: "l.yaml", Line: 10}},
	}
	if diff := cmp.Diff(want, doc.Reservations()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
