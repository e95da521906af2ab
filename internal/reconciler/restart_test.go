package reconciler_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
)

// wishing makes a container with the one GPU and a restart policy, and starts
// it.
func (s *scene) wishing(t *testing.T, policy string) container.Record {
	t.Helper()
	p, err := container.ParseRestartPolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := s.launcher.Create(context.Background(), launcher.Request{
		Account: account.Account{UID: 1, GID: 1, Name: "alice"}, Roles: account.Roles{Docker: true, GPU: true}, Name: "web", Interface: "docker",
		Body: admission.Create{Image: "busybox", HostConfig: admission.HostConfig{
			DeviceRequests: []admission.DeviceRequest{{Count: 1, Capabilities: [][]string{{"gpu"}}}},
			RestartPolicy:  admission.RestartPolicy{Name: p.Name, MaximumRetryCount: p.MaxRetries},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.launcher.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	bubble.Wait()
	return r
}

// fails ends a container by itself and reports whether it runs again after d.
func (s *scene) fails(t *testing.T, r container.Record, code int, d time.Duration) bool {
	t.Helper()
	s.engine.Exit(r.ContainerID, code)
	bubble.Wait()
	time.Sleep(d)
	bubble.Wait()
	return s.runs(t, r)
}

func (s *scene) runs(t *testing.T, r container.Record) bool {
	t.Helper()
	o, err := s.engine.Inspect(t.Context(), r.ContainerID)
	if err != nil {
		t.Fatal(err)
	}
	return o.Running()
}

func (s *scene) restart(t *testing.T, r container.Record) container.Restart {
	t.Helper()
	now, ok := s.ledger.Record(r.ID)
	if !ok {
		t.Fatal("no record")
	}
	return now.Restart
}

// stop ends a container on purpose, as every door to it does.
func (s *scene) stop(t *testing.T, r container.Record) {
	t.Helper()
	if err := s.launcher.Halt(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.engine.Stop(t.Context(), r.ContainerID, 0); err != nil {
		t.Fatal(err)
	}
	bubble.Wait()
}

const moment = 100 * time.Millisecond

func TestWhatEndsByItselfIsStartedAgainAsItsOwnerWishes(t *testing.T) {
	for policy, want := range map[string]struct{ well, failed bool }{
		"no": {false, false}, "always": {true, true}, "unless-stopped": {true, true}, "on-failure": {false, true}, "on-failure:1": {false, true},
	} {
		t.Run(policy, func(t *testing.T) {
			for code, again := range map[int]bool{0: want.well, 3: want.failed} {
				inBubble(t, nil, func(t *testing.T, s *scene) {
					r := s.wishing(t, policy)
					if got := s.engine.HostConfig(r.ContainerID, "RestartPolicy").(map[string]any)["Name"]; got != "no" {
						t.Errorf("the engine is told %v", got)
					}
					s.engine.Exit(r.ContainerID, code)
					bubble.Wait()
					time.Sleep(moment - time.Millisecond)
					if s.runs(t, r) {
						t.Error("it runs too early")
					}
					time.Sleep(2 * time.Millisecond)
					bubble.Wait()
					if got := s.runs(t, r); got != again {
						t.Errorf("code %d: runs again: %t", code, got)
					}
					if again {
						s.want(t, r.ID, gpu.Running, time.Time{})
					}
					time.Sleep(5 * time.Minute)
					if s.wrote("start") != again {
						t.Errorf("the log of decisions has its start: %t", s.wrote("start"))
					}
					if got := s.restart(t, r).Count; got != map[bool]int{true: 1}[again] {
						t.Errorf("started %d times", got)
					}
				})
			}
		})
	}
}

func TestPausesGrowAndTheNumberOfStartsIsKept(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.wishing(t, "on-failure:3")
		for i, pause := range []time.Duration{moment, 2 * moment, 4 * moment} {
			if !s.fails(t, r, 1, pause) {
				t.Fatalf("start %d isn't there after %s", i+1, pause)
			}
		}
		if s.fails(t, r, 1, time.Hour) {
			t.Error("it was started a fourth time")
		}
		if got := s.restart(t, r); got.Count != 3 || !got.Due.IsZero() {
			t.Errorf("%+v", got)
		}
		if err := s.launcher.Start(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		if got := s.restart(t, r); got != got.Fresh() {
			t.Errorf("started by hand: %+v", got)
		}
		if !s.fails(t, r, 1, moment) {
			t.Error("the count didn't begin anew")
		}
	})
}

func TestWhatWasStoppedStaysSo(t *testing.T) {
	for name, story := range map[string]func(*testing.T, *scene, container.Record){
		"while it runs": func(t *testing.T, s *scene, r container.Record) { s.stop(t, r) },
		"while it waits": func(t *testing.T, s *scene, r container.Record) {
			s.engine.Exit(r.ContainerID, 1)
			bubble.Wait()
			if got := s.restart(t, r); got.Due.IsZero() {
				t.Errorf("it doesn't wait: %+v", got)
			}
			s.stop(t, r)
		},
		"and its policy is changed": func(t *testing.T, s *scene, r container.Record) {
			s.stop(t, r)
			u := admission.ResourceUpdate(0, 0, 0, container.RestartPolicy{Name: "unless-stopped"})
			if _, err := s.launcher.Update(t.Context(), r.ID, u); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *scene) {
				r := s.wishing(t, "always")
				story(t, s, r)
				time.Sleep(10 * time.Minute)
				if s.runs(t, r) {
					t.Error("it runs")
				}
				s.engine.SetDown(true)
				time.Sleep(time.Second)
				s.engine.SetDown(false)
				time.Sleep(time.Second)
				if got, always := s.runs(t, r), s.restart(t, r).Policy.Name == "always"; got != always {
					t.Errorf("the engine came up, and it runs: %t", got)
				}
			})
		})
	}
}

func TestAPolicyOfNoEndsTheWait(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.wishing(t, "always")
		s.engine.Exit(r.ContainerID, 1)
		bubble.Wait()
		if _, err := s.launcher.Update(t.Context(), r.ID, admission.ResourceUpdate(0, 0, 0, container.RestartPolicy{Name: "no"})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s.runs(t, r) || s.restart(t, r) != (container.Restart{Policy: container.RestartPolicy{Name: "no"}, Wait: moment}) {
			t.Errorf("%+v", s.restart(t, r))
		}
	})
}

func TestWhatEndedWhileNobodyLookedIsStartedAgain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.wishing(t, "unless-stopped")
		s.engine.SetDown(true)
		time.Sleep(time.Second)
		s.engine.Exit(r.ContainerID, 255)
		time.Sleep(time.Minute)
		s.engine.SetDown(false)
		time.Sleep(time.Second)
		if !s.runs(t, r) || s.restart(t, r).Count != 1 {
			t.Errorf("%+v", s.restart(t, r))
		}
	})
}

func TestWhatWasNeverStartedIsNotStartedWhenTheEngineComesUp(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.wishing(t, "always")
		if err := s.engine.Remove(t.Context(), r.ContainerID, true); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		r, _, err := s.launcher.Create(t.Context(), launcher.Request{
			Account: account.Account{UID: 1, Name: "alice"}, Name: "new", Interface: "docker",
			Body: admission.Create{Image: "busybox", HostConfig: admission.HostConfig{RestartPolicy: admission.RestartPolicy{Name: "always"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.engine.SetDown(true)
		time.Sleep(time.Second)
		s.engine.SetDown(false)
		time.Sleep(time.Minute)
		if s.runs(t, r) {
			t.Error("it runs")
		}
	})
}

// A container that waits gives its GPU back like any other that is stopped.
// Once somebody else has it, it isn't started, and it says why.
func TestALostGPUIsWaitedFor(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.wishing(t, "always")
		s.engine.Exit(r.ContainerID, 1)
		bubble.Wait()
		err := s.ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State = gpu.Released })
		if err != nil {
			t.Fatal(err)
		}
		other, err := s.create(2, "other")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		got := s.restart(t, r)
		if s.runs(t, r) || got.Count != 0 || got.Wait != time.Minute || got.Due.IsZero() || !strings.Contains(got.Problem, "is in use") {
			t.Errorf("%+v", got)
		}
		if err := s.engine.Remove(t.Context(), other.ContainerID, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + time.Second)
		if got := s.restart(t, r); !s.runs(t, r) || got.Count != 1 || got.Problem != "" {
			t.Errorf("its GPU is free again: %+v", got)
		}
	})
}

func TestAnAdoptedContainersPolicyBecomesOurs(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		id := s.past(t, "old", `{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"always"}}}`)
		if err := s.engine.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		record := container.Record{Login: "alice"}
		record.UID, record.Name = 1, "old"
		r, err := s.Adopt(t.Context(), id, record)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.engine.HostConfig(id, "RestartPolicy").(map[string]any)["Name"]; got != "no" || r.Restart.Policy.Name != "always" {
			t.Errorf("the engine has %v, and the record %+v", got, r.Restart)
		}
		if !s.fails(t, r, 0, moment) {
			t.Error("it isn't started again")
		}
	})
}
