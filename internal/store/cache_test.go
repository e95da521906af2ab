package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheBuildCacheHasOwners(t *testing.T) {
	path := file(t)
	s := open(t, path)
	for _, row := range []struct {
		record string
		uid    int
	}{{"a", 2}, {"a", 1}, {"a", 1}, {"b", 2}, {"c", 3}} {
		if err := s.OwnCache(t.Context(), row.record, row.uid); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.ForgetCache(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, path).CacheOwners(t.Context())
	if diff := cmp.Diff(map[string][]int{"a": {1, 2}, "b": {2}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
