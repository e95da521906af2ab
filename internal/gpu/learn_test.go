package gpu_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

func TestWhatPeopleAskForIsLearntFromWhatTheyUsed(t *testing.T) {
	seventh := func(n int) quantity.GPUShare { return quantity.ShareOf(n, 7) }
	for name, c := range map[string]struct {
		uses map[quantity.GPUShare]int
		of   int
		want gpu.Mix
	}{
		"too few":                {map[quantity.GPUShare]int{seventh(1): 49}, 7, nil},
		"enough":                 {map[quantity.GPUShare]int{seventh(1): 30, seventh(3): 15, seventh(7): 5}, 7, gpu.Mix{"1g": 60, "3g": 30, "7g": 10}},
		"one more is the same":   {map[quantity.GPUShare]int{seventh(1): 3001, seventh(3): 1500, seventh(7): 500}, 7, gpu.Mix{"1g": 60, "3g": 30, "7g": 10}},
		"rare ones are left out": {map[quantity.GPUShare]int{seventh(1): 999, seventh(4): 1}, 7, gpu.Mix{"1g": 100}},
		"of other cards":         {map[quantity.GPUShare]int{quantity.ShareOf(1, 4): 60, seventh(1): 60}, 4, gpu.Mix{"1g": 100}},
		"nothing that fits":      {map[quantity.GPUShare]int{quantity.ShareOf(1, 4): 60}, 7, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, gpu.Learn(c.uses, c.of)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
