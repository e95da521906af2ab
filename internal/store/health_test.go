package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
)

func TestADrainOutlivesTheProcess(t *testing.T) {
	path := file(t)
	s := open(t, path)
	first, second := gpu.Drain{Card: "GPU-0", By: "root", Since: joined}, gpu.Drain{Card: "GPU-0", Reason: "a fan", By: "eve", Since: joined}
	gone := gpu.Drain{Card: "GPU-1", By: "root", Since: joined}
	for _, d := range []gpu.Drain{first, gone, second} {
		if err := s.SaveDrain(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time there is nothing to delete
		if err := s.DeleteDrain(t.Context(), gone.Card); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, path).Drains(t.Context())
	if diff := cmp.Diff([]gpu.Drain{second}, got); diff != "" || err != nil {
		t.Errorf("drains (-want +got): %v\n%s", err, diff)
	}
}

func TestAFaultOutlivesTheProcess(t *testing.T) {
	path := file(t)
	s := open(t, path)
	first := gpu.Record{Fault: gpu.Fault{Card: "GPU-0", Device: "MIG-1", XID: 48}, At: joined, Boot: "b"}
	second, gone := first, first
	second.Confirmed, gone.XID = true, 79
	for _, f := range []gpu.Record{first, gone, second} {
		if err := s.SaveFault(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time there is nothing to delete
		if err := s.DeleteFault(t.Context(), gone.Fault); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, path).Faults(t.Context())
	if diff := cmp.Diff([]gpu.Record{second}, got); diff != "" || err != nil {
		t.Errorf("faults (-want +got): %v\n%s", err, diff)
	}
}
