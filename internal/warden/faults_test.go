package warden_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// watch hands the host's errors on, until there is one without a number.
func (h *host) watch(ctx context.Context, tell func(gpu.Fault)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-h.errors:
			if f.XID == 0 {
				return errors.New("the driver is gone")
			}
			tell(f)
		}
	}
}

// listening runs ds01 for a story.
func listening(t *testing.T, story func(t *testing.T, h *host)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		h := begin(t, empty())
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- h.Run(ctx, time.Minute) }()
		story(t, h)
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// strike lets an error happen.
func (h *host) strike(device string, xid int) {
	card := device
	if strings.HasPrefix(device, "MIG-") {
		card = "GPU-1"
	}
	h.errors <- gpu.Fault{Card: card, Device: device, XID: xid}
	bubble.Wait()
}

// ill returns the devices that aren't granted, as "0 1.1".
func (h *host) ill() string {
	var all []string
	for _, d := range gpu.Devices(h.cards) {
		if d.Problem != "" {
			all = append(all, d.Slot)
		}
	}
	return strings.Join(all, " ")
}

func (h *host) wantIll(t *testing.T, want string) {
	t.Helper()
	if got := h.ill(); got != want {
		t.Errorf("not granted are %q, want %q: %+v", got, want, h.cards)
	}
}

func TestAnErrorKeepsItsDeviceFromBeingGranted(t *testing.T) {
	tests := map[string]struct {
		device string
		xid    int
		ill    string
	}{
		"a card off the bus":                          {"GPU-0", 79, "0"},
		"an error of an instance":                     {"MIG-2", 48, "1.1"},
		"an error of a card with instances":           {"GPU-1", 48, "1.0 1.1"},
		"one of the whole card, seen on its instance": {"MIG-2", 119, "1.0 1.1"},
		"one that nobody knows, seen on an instance":  {"MIG-2", 4711, "1.0 1.1"},
		"a program that made an error":                {"GPU-0", 31, ""},
		"a program that was ended":                    {"MIG-1", 45, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			listening(t, func(t *testing.T, h *host) {
				h.strike(tt.device, tt.xid)
				h.wantIll(t, tt.ill)
				if tt.ill == "" {
					if len(h.written)+len(h.store.faults) > 0 {
						t.Errorf("written down: %+v, %+v", h.written, h.store.faults)
					}
					return
				}
				h.strike(tt.device, tt.xid)
				if len(h.written) != 1 || h.written[0].Action != "gpu fault" || !strings.Contains(h.written[0].Why, "XID") {
					t.Errorf("written down: %+v", h.written)
				}
				h.start(t)
				h.wantIll(t, tt.ill) // also after a restart
				h.boot = "second"
				h.start(t)
				h.wantIll(t, "") // but not after a reboot
				if len(h.store.faults) > 0 {
					t.Errorf("left: %+v", h.store.faults)
				}
			})
		})
	}
}

func TestAnUndrainForgetsErrors(t *testing.T) {
	listening(t, func(t *testing.T, h *host) {
		h.strike("GPU-0", 79)
		h.strike("MIG-1", 48)
		for _, c := range gpu.Devices(h.cards)[:2] {
			if !strings.Contains(c.Mend, "ds01 gpu undrain") {
				t.Errorf("nobody says what to do with %+v", c)
			}
		}
		if _, err := h.Undrain(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		h.wantIll(t, "0")
		if _, err := h.Undrain(t.Context(), "1"); !errors.Is(err, problem.ErrConflict) {
			t.Errorf("undrained twice: %v", err)
		}
		h.start(t)
		h.wantIll(t, "0")
	})
}

func TestAResetThatTheDriverTellsOfForgetsErrors(t *testing.T) {
	listening(t, func(t *testing.T, h *host) {
		say := func(r gpu.Remedy) {
			h.present[0].Health.Remedy = r
			h.present[0].Problem, h.present[0].Mend = h.present[0].Health.Judge(0)
			if err := h.refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		say(gpu.RemedyNone)
		h.strike("GPU-0", 119)
		h.wantIll(t, "0")
		say(gpu.RemedyNone) // it hasn't noticed yet
		h.wantIll(t, "0")
		say(gpu.RemedyReset)
		h.wantIll(t, "0")
		h.start(t)
		say(gpu.RemedyNone)
		h.wantIll(t, "")
		if len(h.store.faults) > 0 {
			t.Errorf("left: %+v", h.store.faults)
		}
	})
}

func TestADriverThatCannotBeListenedToIsTriedAgain(t *testing.T) {
	listening(t, func(t *testing.T, h *host) {
		h.strike("GPU-0", 0)
		time.Sleep(time.Minute)
		h.strike("GPU-0", 79)
		h.wantIll(t, "0")
	})
}

func TestAnErrorThatCannotBeStoredHoldsAllTheSame(t *testing.T) {
	listening(t, func(t *testing.T, h *host) {
		h.store.err = errors.New("disk full")
		h.strike("GPU-0", 79)
		h.wantIll(t, "0")
	})
}
