package launcher_test

import (
	"errors"
	"fmt"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
)

// What can't be held to its rates runs all the same: whoever keeps limits in
// force tries again.
func TestWhatStartsIsHeldToItsRatesOnceItHasAGroup(t *testing.T) {
	for name, broken := range map[string]error{"the kernel takes them": nil, "the kernel doesn't": errors.New("no such disk")} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, admission.UserNS)
			r := s.create(t, request())
			var asked []string
			s.Rates = func(uid int, id string, folders []string, _ limits.Limits) error {
				o, err := s.engine.Inspect(t.Context(), id)
				asked = append(asked, fmt.Sprint(uid, id == r.ContainerID, folders, o.Running(), err))
				return broken
			}
			if err := s.Start(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprint(r.UID, true, []string{r.Mounts[0].HostPath}, true, nil); len(asked) != 1 || asked[0] != want {
				t.Errorf("asked %q, want %q once", asked, want)
			}
		})
	}
}

// Rates that end are taken from what runs; what starts has none that could be.
func TestWhatRunsLosesRatesThatEnd(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.bound.IOReadBPS, s.bound.IOWriteBPS = quantity.None[quantity.ByteSize](), quantity.None[quantity.ByteSize]()
	r := s.create(t, request())
	var asked []limits.Limits
	s.Rates = func(_ int, _ string, _ []string, l limits.Limits) error {
		asked = append(asked, l)
		return nil
	}
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if len(asked) > 0 {
		t.Errorf("a start without rates asked for %+v", asked)
	}
	if _, _, err := s.Fit(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || !asked[0].IOReadBPS.Unlimited || !asked[0].IOWriteBPS.Unlimited {
		t.Errorf("asked for %+v, not for none", asked)
	}
}
