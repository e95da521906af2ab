package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/docker/dockertest"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/reconciler"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/registrar"
	"ds01.dev/ds01/internal/registrar/registrartest"
	"ds01.dev/ds01/internal/store"
)

// A scene is a reconciler that runs, in a bubble of time of its own.
type scene struct {
	*reconciler.Reconciler
	mu        sync.Mutex
	registrar *registrar.Registrar
	served    bool // the engine makes networks
	engine    *dockertest.Engine
	ledger    *allocator.Allocator
	launcher  *launcher.Launcher
	connected int
	named     []string
	recorded  []event.Event
	broken    atomic.Value // string: why the device can't be granted
	live      live
}

// Append takes what the reconciler writes down. The engine's events and the
// clock start their own goroutines, which stand still when a story looks.
func (s *scene) Append(e event.Event) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recorded = append(s.recorded, e)
	return uint64(len(s.recorded)), nil
}

func (*scene) Ready() error { return nil }

// wrote reports whether an action was written down with its reason and whose
// container it is.
func (s *scene) wrote(action string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.recorded, func(e event.Event) bool {
		return e.Action == action && e.Why != "" && e.Door == event.Daemon && e.User == "ds01" && e.Object != "" && (action == "quarantine" || e.OwnerUID != nil)
	})
}

type silent struct{}

func (silent) Prepare(account.Account, admission.MountRoot, container.Mount) error { return nil }
func (silent) Mount(account.Account, admission.MountRoot, container.Mount) error   { return nil }
func (silent) Unmount(string) error                                                { return nil }
func (silent) Lookup(uid int) (account.Account, error) {
	return account.Account{UID: uid, GID: uid, Name: "alice"}, nil
}

func (s silent) Ensure(_ context.Context, uid int, _ limits.Limits) (string, error) {
	return s.Parent(uid), nil
}
func (silent) Parent(uid int) string { return fmt.Sprintf("/ds01/u%d", uid) }

func (silent) Give(string, []gpu.Device) error { return nil }
func (silent) Take(string) error               { return nil }
func (silent) Given(string) ([]string, error)  { return []string{"GPU-0"}, nil }

func (silent) End(context.Context, int, string) (int, error) { return 0, nil }
func (silent) Freeze(context.Context, int, string) error     { return nil }
func (silent) Thaw(int, string) error                        { return nil }
func (silent) CoverVolume(string, map[string]string) error   { return nil }
func (silent) UncoverVolume(string) error                    { return nil }
func (silent) Cover(account.Account, admission.MountRoot, container.Mount, map[string]string) error {
	return nil
}

func bound() limits.Limits {
	return limits.Limits{
		MaxDevices: quantity.To(1), MaxGPUsPerContainer: quantity.To(1), AllowFullGPU: true, MaxGPUShare: quantity.None[quantity.GPUShare](),
		MaxContainers: quantity.To(5), GPUHoldAfterStop: quantity.To(time.Hour), Memory: quantity.None[quantity.ByteSize](),
		MemorySwap: quantity.None[quantity.ByteSize](), PidsLimit: quantity.None[int64](), StopTimeout: quantity.None[time.Duration](),
		MaxCPUs: quantity.None[quantity.CPUs](), ShmSize: quantity.None[quantity.ByteSize](), UlimitNofile: quantity.None[int64](),
		Aggregate: limits.Aggregate{CPUs: quantity.None[quantity.CPUs]()},
	}
}

// inBubble runs a story: prepare sees everything before the reconciler runs.
func inBubble(t *testing.T, prepare, story func(*testing.T, *scene)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		s := newScene(t)
		if prepare != nil {
			prepare(t, s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- s.Run(ctx) }()
		bubble.Wait()
		story(t, s)
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{engine: dockertest.New(time.Now)}
	records, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "ds01.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { records.Close() })
	devices := func() []gpu.Device {
		broken, _ := s.broken.Load().(string)
		return []gpu.Device{{UUID: "GPU-0", Slot: "0", Instance: -1, Profile: gpu.Full, Share: quantity.FullGPU, Problem: broken, Nodes: []gpu.Node{{Name: "nvidia0", Major: 120}}}}
	}
	if s.ledger, err = allocator.New(t.Context(), records, devices, time.Now); err != nil {
		t.Fatal(err)
	}
	images, err := curator.New(t.Context(), records, s.engine, s.ledger, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s.registrar = registrartest.New(t, s.engine, records, s.ledger.Lock, time.Now, &s.served)
	s.launcher = launcher.New(launcher.Parts{
		Engine: s.engine, Images: images, Ledger: s.ledger, Registrar: s.registrar, Mounter: silent{}, Cgroups: silent{}, Accounts: silent{},
		Limits: func(account.Account) limits.Limits { return bound() }, Devices: devices,
		Isolation: func() admission.Isolation { return admission.UserNS }, Libraries: func() (string, error) { return "none", nil }, Log: log, Now: time.Now,
		Started: func(o container.Observed) { s.Started(o) }, NodeFolder: "/run/ds01/dev", Grants: silent{}, Live: &s.live,
	})
	s.Reconciler = reconciler.New(reconciler.Parts{
		Engine: s.engine, Ledger: s.ledger, Launcher: s.launcher, Registrar: s.registrar, Devices: devices, Log: log, Now: time.Now,
		Recorder: recorder.New(s, time.Now, log),
		Remove:   func(ctx context.Context, id string) error { return s.engine.Remove(ctx, id, true) },
		Stop:     func(ctx context.Context, id string) error { return s.engine.Stop(ctx, id, -1) },
		Disarm: func(ctx context.Context, id string) error {
			_, err := s.engine.Update(ctx, id, []byte(`{"RestartPolicy":{"Name":"no"}}`))
			return err
		},
		Connected: func(context.Context) error { s.connected++; return nil },
		Named:     func(_ context.Context, image string) error { s.named = append(s.named, image); return nil },
		Limits:    func(int) (limits.Limits, error) { return bound(), nil },
	})
	return s
}

// A start counts at once for who looks, before the engine has told of it.
func TestWhatWasStartedIsShownToRun(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		s.engine.Exit(r.ContainerID, 0)
		time.Sleep(time.Second)
		show := func() string { return s.Views(func(container.Record) bool { return true })[0].Observed.State }
		if got := show(); got != "exited" {
			t.Errorf("it ended, and is %s", got)
		}
		if err := s.ledger.Acquire(t.Context(), r.ID, bound()); err != nil {
			t.Fatal(err)
		}
		if got := show(); got != "running" {
			t.Errorf("it was started, and is %s", got)
		}
	})
}

// create makes a container with the one GPU.
func (s *scene) create(uid int, name string) (container.Record, error) {
	who, _ := silent{}.Lookup(uid)
	r, _, err := s.launcher.Create(context.Background(), launcher.Request{
		Account: who, Roles: account.Roles{Docker: true, GPU: true}, Name: name, Interface: "docker",
		Body: admission.Create{Image: "busybox", HostConfig: admission.HostConfig{
			DeviceRequests: []admission.DeviceRequest{{Count: 1, Capabilities: [][]string{{"gpu"}}}},
		}},
	})
	return r, err
}

// running makes a container and starts it.
func (s *scene) running(t *testing.T) container.Record {
	t.Helper()
	r, err := s.create(1, "web")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.launcher.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	bubble.Wait()
	return r
}

// past makes a container past ds01.
func (s *scene) past(t *testing.T, name, body string) string {
	t.Helper()
	id, _, err := s.engine.Create(t.Context(), name, "", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (s *scene) want(t *testing.T, claim string, state gpu.State, until time.Time) {
	t.Helper()
	r, ok := s.ledger.Record(claim)
	if !ok || r.State != state || !r.HeldUntil.Equal(until) {
		t.Errorf("known %t, %s until %s; want %s until %s", ok, r.State, r.HeldUntil, state, until)
	}
}

func TestAStoppedContainerHoldsItsDevicesForItsTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		s.want(t, r.ID, gpu.Running, time.Time{})
		time.Sleep(24 * time.Hour)
		s.want(t, r.ID, gpu.Running, time.Time{})
		s.engine.Exit(r.ContainerID, 1)
		ended := time.Now()
		bubble.Wait()
		s.want(t, r.ID, gpu.Held, ended.Add(time.Hour))
		if _, err := s.create(2, "other"); !errors.Is(err, problem.ErrExhausted) {
			t.Errorf("held, and yet %v", err)
		}
		time.Sleep(time.Hour - 2*time.Second)
		s.want(t, r.ID, gpu.Held, ended.Add(time.Hour))
		time.Sleep(4 * time.Second)
		s.want(t, r.ID, gpu.Released, time.Time{})
		if !s.wrote("release") {
			t.Errorf("not written down: %+v", s.recorded)
		}
		if _, err := s.create(2, "other"); err != nil {
			t.Error(err)
		}
	})
}

func TestAContainerThatWasNeverStartedGivesItsDevicesBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r, err := s.create(1, "web")
		if err != nil {
			t.Fatal(err)
		}
		until := lifecycle.CreatedUntil(r.CreatedAt)
		time.Sleep(time.Until(until) - 2*time.Second)
		s.want(t, r.ID, gpu.Bound, until)
		time.Sleep(4 * time.Second)
		s.want(t, r.ID, gpu.Released, time.Time{})
	})
}

func TestARemovedContainerGivesEverythingBackAtOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		if err := s.engine.Remove(t.Context(), r.ContainerID, true); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		if all := s.ledger.Records(); len(all) > 0 || len(s.Views(func(container.Record) bool { return true })) > 0 {
			t.Errorf("left: %+v", all)
		}
		if !s.wrote("forget") || len(s.recorded) != 1 {
			t.Errorf("written down: %+v", s.recorded)
		}
	})
}

// A create whose answer was lost is looked up before anything is given back.
func TestAPendingClaimIsSettledByWhatTheEngineHas(t *testing.T) {
	for name, c := range map[string]struct{ made, down bool }{
		"it was made":                        {true, false},
		"it was not made":                    {false, false},
		"it was made, and the engine went":   {true, true},
		"it wasn't made, and the engine too": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *scene) {
				s.engine.Fail("Create", errors.New("connection reset"), c.made)
				if _, err := s.create(1, "web"); err == nil {
					t.Fatal("no error")
				}
				claim := s.ledger.Records()[0].ID
				if c.down {
					s.engine.SetDown(true)
					time.Sleep(10 * time.Minute)
					if r, ok := s.ledger.Record(claim); !ok || !c.made && r.State != gpu.Pending {
						t.Fatalf("nobody could look, and yet it is %+v", r)
					}
					s.engine.SetDown(false)
				}
				time.Sleep(lifecycle.PendingGrace + 3*time.Second)
				r, ok := s.ledger.Record(claim)
				if ok != c.made || ok && (r.ContainerID == "" || r.State != gpu.Bound && r.State != gpu.Released) {
					t.Errorf("known %t: %+v", ok, r)
				}
				if s.wrote("bind") != c.made || s.wrote("forget") == c.made {
					t.Errorf("written down: %+v", s.recorded)
				}
			})
		})
	}
}

func TestALookUpThatFailsSettlesNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		s.engine.Fail("Create", errors.New("connection reset"), false)
		if _, err := s.create(1, "web"); err == nil {
			t.Fatal("no error")
		}
		time.Sleep(lifecycle.PendingGrace - time.Second)
		s.engine.Fail("ByClaim", errors.New("timeout"), false)
		time.Sleep(time.Second + time.Second/2)
		if len(s.ledger.Records()) != 1 {
			t.Error("given back without a look")
		}
		time.Sleep(2 * time.Second)
		if len(s.ledger.Records()) != 0 {
			t.Error("never given back")
		}
	})
}

// What happened while nobody watched is found at the start.
func TestWhatHappenedWhileTheDaemonWasDown(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*testing.T, *scene, container.Record)
		state     gpu.State
		hold      time.Duration // after the start of the test; 0: none
		gone      bool
	}{
		"nothing":  {func(*testing.T, *scene, container.Record) {}, gpu.Running, 0, false},
		"it ended": {func(_ *testing.T, s *scene, r container.Record) { s.engine.Exit(r.ContainerID, 0) }, gpu.Held, time.Hour, false},
		"it was removed": {func(t *testing.T, s *scene, r container.Record) {
			if err := s.engine.Remove(t.Context(), r.ContainerID, true); err != nil {
				t.Fatal(err)
			}
		}, "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var r container.Record
			var began time.Time
			inBubble(t, func(t *testing.T, s *scene) {
				began = time.Now()
				r = s.running(t)
				c.meanwhile(t, s, r)
			}, func(t *testing.T, s *scene) {
				if _, ok := s.ledger.Record(r.ID); ok == c.gone {
					t.Fatalf("known: %t", ok)
				}
				until := time.Time{}
				if c.hold > 0 {
					until = began.Add(c.hold)
				}
				if !c.gone {
					s.want(t, r.ID, c.state, until)
				}
			})
		})
	}
}

// The daemon ended between its note that a container starts and the start.
func TestAStartThatNeverReachedTheEngineIsTakenBack(t *testing.T) {
	var r container.Record
	inBubble(t, func(t *testing.T, s *scene) {
		var err error
		if r, err = s.create(1, "web"); err != nil {
			t.Fatal(err)
		}
		if err := s.ledger.Acquire(t.Context(), r.ID, bound()); err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, s *scene) {
		s.want(t, r.ID, gpu.Bound, lifecycle.CreatedUntil(time.Now()))
		time.Sleep(time.Hour)
		s.want(t, r.ID, gpu.Released, time.Time{})
	})
}

// The daemon ended between the engine's create and what is put into a container
// beside it. Nobody waits until its claim is given up.
func TestWhatIsOnlyHalfMadeIsRemovedAtTheFirstLook(t *testing.T) {
	var r container.Record
	inBubble(t, func(t *testing.T, s *scene) {
		var err error
		if r, err = s.create(1, "web"); err == nil {
			err = s.ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.ContainerID, c.State, c.Waits = "", gpu.Pending, true })
		}
		if err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, s *scene) {
		if _, ok := s.ledger.Record(r.ID); ok || !s.wrote("discard") {
			t.Errorf("known: %t; written down: %+v", ok, s.recorded)
		}
		if _, err := s.engine.Inspect(t.Context(), r.ContainerID); !errors.Is(err, problem.ErrNotFound) {
			t.Errorf("the engine says %v of it", err)
		}
	})
}

func TestAMissedEventIsMadeUpForByTheSweep(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		s.engine.Fail("Inspect", errors.New("timeout"), false)
		s.engine.Exit(r.ContainerID, 0)
		ended := time.Now()
		bubble.Wait()
		s.want(t, r.ID, gpu.Running, time.Time{})
		time.Sleep(31 * time.Second)
		s.want(t, r.ID, gpu.Held, ended.Add(time.Hour))
	})
}

func TestWhatAnUnknownContainerWasGivenIsTaken(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		s.past(t, "lost", `{"Image":"busybox","HostConfig":{"Runtime":"ds01"}}`)
		bubble.Wait()
		if why := s.ledger.Taken()["GPU-0"]; !strings.Contains(why, "lost") {
			t.Errorf("taken: %v", s.ledger.Taken())
		}
	})
}

func TestWhatTheLedgerDoesNotKnowIsQuarantinedAndItsDevicesAreTaken(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		harmless := s.past(t, "harmless", `{"Image":"busybox"}`)
		forged := s.past(t, "forged", `{"Image":"busybox","Labels":{"aime.mlc.DS01_CLAIM":"0000000000000000","aime.mlc.DS01_UID":"1"}}`)
		bubble.Wait()
		if q := s.Quarantined(); len(q) != 2 || q[0].ID != min(harmless, forged) || q[1].ID != max(harmless, forged) {
			t.Fatalf("quarantined %+v", q)
		}
		if !s.wrote("quarantine") || len(s.recorded) != 2 {
			t.Errorf("written down: %+v", s.recorded)
		}
		if len(s.ledger.Taken()) != 0 {
			t.Errorf("taken: %v", s.ledger.Taken())
		}
		greedy := s.past(t, "greedy", `{"Image":"busybox"}`)
		s.engine.Hint(greedy, gpu.Hints{All: true})
		if err := s.engine.Start(t.Context(), greedy); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		if why := s.ledger.Taken()["GPU-0"]; !strings.Contains(why, "greedy") {
			t.Errorf("taken: %v", s.ledger.Taken())
		}
		if _, err := s.create(1, "web"); !errors.Is(err, problem.ErrExhausted) {
			t.Errorf("got %v", err)
		}
		for _, id := range []string{harmless, forged, greedy} {
			if err := s.engine.Remove(t.Context(), id, true); err != nil {
				t.Fatal(err)
			}
		}
		bubble.Wait()
		if len(s.Quarantined())+len(s.ledger.Taken()) != 0 {
			t.Errorf("left: %v %v", s.Quarantined(), s.ledger.Taken())
		}
	})
}

// The engine's answer about a container may arrive after the news of its end.
func TestAnAnswerThatComesTooLateBringsNothingBack(t *testing.T) {
	for name, start := range map[string]func(*testing.T, *scene) string{
		"of a container that ds01 doesn't know": func(t *testing.T, s *scene) string {
			id := s.past(t, "smuggled", `{"Image":"busybox"}`)
			s.engine.Hint(id, gpu.Hints{All: true})
			if err := s.engine.Start(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			return id
		},
		"of one that it knows": func(t *testing.T, s *scene) string { return s.running(t).ContainerID },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *scene) {
				id := start(t, s)
				bubble.Wait()
				s.engine.Delay(id, time.Second)
				s.engine.Exit(id, 0)
				bubble.Wait() // its answer is on the way
				if err := s.engine.Remove(t.Context(), id, true); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if len(s.Quarantined())+len(s.ledger.Taken())+len(s.ledger.Records()) != 0 {
					t.Errorf("left: quarantined %v, taken %v, records %v", s.Quarantined(), s.ledger.Taken(), s.ledger.Records())
				}
			})
		})
	}
}

// An engine that lost a lock says nothing about one container any more, and
// all about the others.
func TestAContainerThatCannotBeLookedAtKeepsNobodyWaiting(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, s *scene, mute container.Record) (free func()){
		"nobody has asked": func(*testing.T, *scene, container.Record) func() { return func() {} },
		"somebody waits for it": func(_ *testing.T, s *scene, mute container.Record) func() {
			return s.ledger.Lock(mute.ID)
		},
		"somebody has looked for long": func(_ *testing.T, s *scene, mute container.Record) func() {
			return s.ledger.Lock(mute.ContainerID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var mute container.Record
			var free func()
			inBubble(t, func(t *testing.T, s *scene) {
				mute = s.running(t)
				s.engine.Delay(mute.ContainerID, time.Hour)
				free = prepare(t, s, mute)
			}, func(t *testing.T, s *scene) {
				time.Sleep(6 * time.Second)
				if !s.Up() || s.ledger.Sighted() != nil {
					t.Fatal("nobody is served")
				}
				s.want(t, mute.ID, gpu.Running, time.Time{})
				for range 20 { // more than there are lookers
					if err := s.engine.Stop(t.Context(), mute.ContainerID, 0); err != nil {
						t.Fatal(err)
					}
					if err := s.engine.Start(t.Context(), mute.ContainerID); err != nil {
						t.Fatal(err)
					}
				}
				seen := s.past(t, "other", `{"Image":"busybox"}`)
				bubble.Wait()
				if q := s.Quarantined(); len(q) != 1 || q[0].ID != seen {
					t.Errorf("quarantined %v", q)
				}
				s.want(t, mute.ID, gpu.Running, time.Time{})
				free()
				time.Sleep(time.Minute)
				if silent := s.Silent(); len(silent) != 1 || silent[0] != mute.ContainerID {
					t.Errorf("said to be silent: %v", silent)
				}
				s.engine.Delay(mute.ContainerID, 0)
				time.Sleep(time.Minute)
				if o, seen := s.Observed(mute.ContainerID); !o.Running() || len(s.Silent()) != 0 {
					t.Errorf("it answers again: seen %t, %+v, silent %v", seen, o, s.Silent())
				}
			})
		})
	}
}

// One that was seen before may say nothing and be what it was: it is looked at
// until it answers.
func TestASilentContainerIsToldUntilItAnswersOrIsGone(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *scene, id string){
		"it answers": func(_ *testing.T, s *scene, id string) { s.engine.Delay(id, 0) },
		"it is gone": func(t *testing.T, s *scene, id string) {
			if err := s.engine.Remove(t.Context(), id, true); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *scene) {
				r := s.running(t)
				bubble.Wait()
				s.engine.Delay(r.ContainerID, time.Hour)
				if err := s.Sweep(t.Context()); err != nil || len(s.Silent()) != 1 {
					t.Fatalf("silent %v, %v", s.Silent(), err)
				}
				end(t, s, r.ContainerID)
				time.Sleep(time.Minute)
				if silent := s.Silent(); len(silent) != 0 {
					t.Errorf("still silent: %v", silent)
				}
			})
		})
	}
}

func TestAnUnknownContainerThatCannotBeLookedAtMayReachEverything(t *testing.T) {
	var mute string
	inBubble(t, func(t *testing.T, s *scene) {
		mute = s.past(t, "mute", `{"Image":"busybox"}`)
		s.engine.Delay(mute, time.Hour)
	}, func(t *testing.T, s *scene) {
		time.Sleep(6 * time.Second)
		if _, err := s.create(1, "web"); !errors.Is(err, problem.ErrExhausted) || !s.Up() {
			t.Errorf("got %v, up %t", err, s.Up())
		}
		s.engine.Delay(mute, 0)
		time.Sleep(time.Minute)
		if len(s.Quarantined()) != 1 || len(s.ledger.Taken()) != 0 {
			t.Errorf("quarantined %v, taken %v", s.Quarantined(), s.ledger.Taken())
		}
	})
}

// A label names a claim; it is believed only for a claim that waits for its
// container.
func TestALabelDoesNotMakeAContainerSomebodys(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		copied := s.past(t, "copied", `{"Image":"busybox","Labels":{"aime.mlc.DS01_CLAIM":"`+r.ID+`"}}`)
		bubble.Wait()
		if q := s.Quarantined(); len(q) != 1 || q[0].ID != copied {
			t.Errorf("quarantined %+v", q)
		}
		if got, _ := s.ledger.Record(r.ID); got.ContainerID != r.ContainerID {
			t.Errorf("the claim went to %s", got.ContainerID)
		}
	})
}

func TestAdopt(t *testing.T) {
	for name, run := range map[string]bool{"running": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *scene) {
				id := s.past(t, "old", `{"Image":"busybox"}`)
				s.engine.Hint(id, gpu.Hints{DeviceIDs: []string{"GPU-0"}})
				if err := s.Observe(t.Context(), id); err != nil { // it may have been looked at before
					t.Fatal(err)
				}
				if run {
					if err := s.engine.Start(t.Context(), id); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				record := container.Record{Claim: gpu.Claim{UID: 7, Name: "mine"}, Login: "bob", Quota: container.QuotaRule{HoldAfterStop: time.Hour}}
				adopted, err := s.Adopt(t.Context(), id, record)
				if err != nil {
					t.Fatal(err)
				}
				if run {
					s.want(t, adopted.ID, gpu.Running, time.Time{})
				} else {
					s.want(t, adopted.ID, gpu.Held, time.Now().Add(time.Hour))
				}
				if len(adopted.Devices) != 1 || adopted.Image != "busybox" || len(s.Quarantined())+len(s.ledger.Taken()) != 0 {
					t.Errorf("adopted %+v, still in quarantine %v, taken %v", adopted, s.Quarantined(), s.ledger.Taken())
				}
				if _, err := s.Adopt(t.Context(), id, record); !errors.Is(err, problem.ErrNotFound) {
					t.Errorf("twice: %v", err)
				}
				time.Sleep(2 * time.Hour)
				if got, _ := s.ledger.Record(adopted.ID); run != (got.State == gpu.Running) {
					t.Errorf("later it is %s", got.State)
				}
			})
		})
	}
}

// Somebody started a container past ds01 after its device went to another.
func TestWhatRunsOnADeviceItLostIsStopped(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		s.engine.Exit(r.ContainerID, 0)
		time.Sleep(2 * time.Hour)
		s.want(t, r.ID, gpu.Released, time.Time{})
		other, err := s.create(2, "other")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.launcher.Start(t.Context(), other.ID); err != nil {
			t.Fatal(err)
		}
		if err := s.engine.Start(t.Context(), r.ContainerID); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		if o, err := s.engine.Inspect(t.Context(), r.ContainerID); err != nil || o.Running() {
			t.Errorf("two run on one device: %+v, %v", o, err)
		}
		if !s.wrote("stop") {
			t.Errorf("not written down: %+v", s.recorded)
		}
		if o, err := s.engine.Inspect(t.Context(), other.ContainerID); err != nil || !o.Running() {
			t.Errorf("the owner was stopped: %+v, %v", o, err)
		}
	})
}

func TestWhatRunsPastDs01OnAFreeDeviceTakesItBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		s.engine.Exit(r.ContainerID, 0)
		time.Sleep(2 * time.Hour)
		if err := s.engine.Start(t.Context(), r.ContainerID); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		s.want(t, r.ID, gpu.Running, time.Time{})
	})
}

func TestAnEngineThatComesAndGoes(t *testing.T) {
	inBubble(t, func(_ *testing.T, s *scene) { s.engine.SetDown(true) }, func(t *testing.T, s *scene) {
		time.Sleep(time.Minute)
		if s.Up() || s.connected > 0 {
			t.Fatal("it is down")
		}
		s.engine.SetDown(false)
		time.Sleep(time.Second)
		if !s.Up() || s.connected != 1 {
			t.Fatalf("it is up, asked %d times who it is", s.connected)
		}
		r := s.running(t)
		s.engine.SetDown(true)
		time.Sleep(time.Hour)
		if s.Up() {
			t.Error("it is down again")
		}
		s.want(t, r.ID, gpu.Running, time.Time{})
		s.engine.SetDown(false)
		s.engine.Exit(r.ContainerID, 0)
		ended := time.Now()
		time.Sleep(time.Second)
		if !s.Up() || s.connected != 2 {
			t.Errorf("up %t, asked %d times", s.Up(), s.connected)
		}
		s.want(t, r.ID, gpu.Held, ended.Add(time.Hour))
	})
}

func TestAnEngineThatHangsIsDown(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		s.engine.Delay("", 24*time.Hour) // its events go on saying nothing
		time.Sleep(time.Minute)
		if s.Up() {
			t.Error("it is up")
		}
		s.want(t, r.ID, gpu.Running, time.Time{})
		s.engine.Delay("", 0)
		time.Sleep(time.Minute)
		if !s.Up() || s.connected != 1 {
			t.Errorf("up %t, asked %d times", s.Up(), s.connected)
		}
	})
}

func TestViews(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		time.Sleep(time.Second)
		second := r
		second.ID, second.Name, second.ContainerID, second.Devices = "", "second", "", nil
		if _, err := s.ledger.Adopt(t.Context(), second, nil); err != nil {
			t.Fatal(err)
		}
		views := s.Views(func(container.Record) bool { return true })
		if len(views) != 2 || views[0].Record.ID != r.ID || !views[0].Observed.Running() || views[1].Observed.ID != "" {
			t.Errorf("got %+v", views)
		}
		if none := s.Views(func(r container.Record) bool { return r.UID == 9 }); len(none) > 0 {
			t.Errorf("got %+v", none)
		}
	})
}
