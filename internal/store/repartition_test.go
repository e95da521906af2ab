package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
)

func TestWhatIsDoneToTheCardsOutlivesTheProcess(t *testing.T) {
	path := file(t)
	s := open(t, path)
	both := gpu.Work{Why: "for alice", Began: joined, Steps: []gpu.Step{
		{Verb: gpu.Destroy, Card: 1, CardUUID: "GPU-1", Instance: "MIG-1", Profile: "1g.10gb", At: gpu.Placement{Start: 4, Size: 1}, Reason: "it is free"},
		{Verb: gpu.EnableMIG, Card: 2, CardUUID: "GPU-2", Reset: true},
	}}
	one := both
	one.Steps = both.Steps[1:]
	for _, want := range []gpu.Work{{}, both, one, {}, {}} {
		if err := s.SaveRepartition(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, path)
		got, err := s.Repartition(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("(-want +got): %v\n%s", err, diff)
		}
	}
}
