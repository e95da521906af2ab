package launcher_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

func TestAStartAsksTheEngineOnceWhatItHasStored(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	before := len(s.engine.Calls())
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if got := s.engine.Calls()[before:]; !slices.Equal(got, []string{"Inspect " + r.ContainerID, "Start " + r.ContainerID}) {
		t.Errorf("a start is %v", got)
	}
}

func TestWhatWasChangedPastDS01IsNotStarted(t *testing.T) {
	for field, value := range map[string]any{
		"Privileged": true, "CapAdd": []string{"SYS_ADMIN"}, "PidMode": "host", "NetworkMode": "host", "CgroupParent": "/", "Binds": []string{"/:/h"},
		"DeviceCgroupRules": []string{"c 120:16 rw"}, "SecurityOpt": []string{"seccomp=unconfined"}, "Runtime": "other", "MaskedPaths": []string{},
		"ShmSize": "much",
	} {
		for how, start := range map[string]func(*scene, string) error{
			"started":                     func(s *scene, claim string) error { return s.Start(t.Context(), claim) },
			"started by an administrator": func(s *scene, claim string) error { return s.StartAsIs(t.Context(), claim) },
			"restarted":                   func(s *scene, claim string) error { return s.Restart(t.Context(), claim, 0) },
		} {
			t.Run(field+", "+how, func(t *testing.T) {
				s := newScene(t, admission.UserNS)
				r := s.create(t, request())
				if err := s.Start(t.Context(), r.ID); err != nil {
					t.Fatal(err)
				}
				if how != "restarted" {
					s.stop(t, r)
				}
				was := s.record(t, r.ID)
				s.engine.Tamper(r.ContainerID, field, value)
				if err := start(s, r.ID); err == nil || field != "ShmSize" && !errors.Is(err, problem.ErrDenied) {
					t.Fatalf("got %v", err)
				}
				o, err := s.engine.Inspect(t.Context(), r.ContainerID)
				if err != nil || o.Running() != (how == "restarted") {
					t.Errorf("%+v, %v", o, err)
				}
				if got := s.record(t, r.ID); got.State != was.State || got.Restart != was.Restart {
					t.Errorf("the record is %+v", got)
				}
			})
		}
	}
}

// stop ends a container and brings its record in step, as the reconciler does.
func (s *scene) stop(t *testing.T, r container.Record) {
	t.Helper()
	if err := s.engine.Stop(t.Context(), r.ContainerID, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State = gpu.Held }); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsAboveTheLimitsIsLoweredBeforeTheStart(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	s.engine.Tamper(r.ContainerID, "Memory", 8<<30)
	s.engine.Tamper(r.ContainerID, "PidsLimit", -1)
	s.engine.Tamper(r.ContainerID, "RestartPolicy", map[string]any{"Name": "always"})
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	host := func(field string) any { return s.engine.HostConfig(r.ContainerID, field) }
	if host("Memory") != float64(1<<30) || host("MemorySwap") != float64(1<<30) || host("PidsLimit") != float64(100) ||
		host("RestartPolicy").(map[string]any)["Name"] != "no" {
		t.Errorf("memory %v, swap %v, pids %v, restarts %v", host("Memory"), host("MemorySwap"), host("PidsLimit"), host("RestartPolicy"))
	}
	calls := s.engine.Calls()
	if i := slices.Index(calls, "Update "+r.ContainerID); i < 0 || i > slices.Index(calls, "Start "+r.ContainerID) {
		t.Errorf("calls %v", calls)
	}
	s.stop(t, r)
	s.engine.Tamper(r.ContainerID, "Memory", 8<<30)
	broken := errors.New("no")
	s.engine.Fail("Update", broken, false)
	if err := s.Start(t.Context(), r.ID); !errors.Is(err, broken) || s.record(t, r.ID).State != gpu.Held {
		t.Errorf("not lowered, and yet: %v", err)
	}
}

// adopt makes a container past ds01, with these fields in its HostConfig, and
// gives it to alice.
func (s *scene) adopt(t *testing.T, fields string, devices ...string) container.Record {
	t.Helper()
	id, _, err := s.engine.Create(t.Context(), "old", "", []byte(`{"Image":"busybox","HostConfig":{`+fields+`}}`))
	if err != nil {
		t.Fatal(err)
	}
	r := container.Record{Login: "alice"}
	r.UID, r.Name, r.ContainerID, r.State = 1001, "old", id, gpu.Held
	if r, err = s.Ledger.Adopt(t.Context(), r, devices); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnAdoptedContainer(t *testing.T) {
	for name, c := range map[string]struct {
		fields       string
		hints        gpu.Hints
		devices      []string
		owner, admin bool
	}{
		"plain":                          {fields: ``, owner: true, admin: true},
		"with a directory of the host":   {fields: `"Binds":["/etc:/etc"]`, admin: true},
		"privileged, with every device":  {fields: `"Privileged":true`, hints: gpu.Hints{All: true}, devices: []string{"GPU-0"}, admin: true},
		"with a device that it holds":    {hints: gpu.Hints{Rules: []string{"c 120:* rw"}}, devices: []string{"GPU-0"}, owner: true, admin: true},
		"with a device that came since":  {hints: gpu.Hints{Rules: []string{"c 120:* rw"}}},
		"privileged, holding no device.": {fields: `"Privileged":true`, hints: gpu.Hints{All: true}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, admin := range []bool{false, true} {
				s := newScene(t, admission.UserNS)
				r := s.adopt(t, c.fields, c.devices...)
				s.engine.Hint(r.ContainerID, c.hints)
				start, want := s.Start, c.owner
				if admin {
					start, want = s.StartAsIs, c.admin
				}
				err := start(t.Context(), r.ID)
				if (err == nil) != want {
					t.Errorf("by an administrator: %t: %v", admin, err)
				}
				if c.admin && err != nil && !strings.Contains(problem.OneLine(err), "ask an administrator") {
					t.Errorf("%v", problem.OneLine(err))
				}
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	update := func(u admission.Update) error {
		_, err := s.Update(t.Context(), r.ID, u)
		return err
	}
	always := container.RestartPolicy{Name: container.RestartAlways}
	if err := update(admission.ResourceUpdate(64<<20, 0, 10, always)); err != nil {
		t.Fatal(err)
	}
	if got := s.engine.HostConfig(r.ContainerID, "Memory"); got != float64(64<<20) || s.record(t, r.ID).Restart.Policy != always {
		t.Errorf("memory %v, wish %+v", got, s.record(t, r.ID).Restart)
	}
	if got := s.engine.HostConfig(r.ContainerID, "RestartPolicy").(map[string]any)["Name"]; got != "no" {
		t.Errorf("the engine has %v", got)
	}
	for name, c := range map[string]struct {
		update admission.Update
		kind   error
	}{
		"too much":       {admission.ResourceUpdate(2<<30, 0, 0, container.RestartPolicy{Name: "no"}), problem.ErrLimit},
		"too little":     {admission.ResourceUpdate(1000, 0, 0, container.RestartPolicy{Name: "no"}), problem.ErrInvalid}, // says the engine
		"not a policy":   {admission.ResourceUpdate(0, 0, 0, container.RestartPolicy{Name: "x"}), problem.ErrInvalid},
		"nothing at all": {admission.Update{}, nil},
	} {
		if err := update(c.update); !errors.Is(err, c.kind) || s.record(t, r.ID).Restart.Policy != always {
			t.Errorf("%s: %v, %+v", name, err, s.record(t, r.ID).Restart)
		}
	}
	if _, err := s.Update(t.Context(), "unknown", admission.Update{}); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("an unknown claim: %v", err)
	}
	second := request()
	second.Name, second.Body.HostConfig.DeviceRequests, second.Body.HostConfig.AutoRemove = "short", nil, true
	short := s.create(t, second)
	if _, err := s.Update(t.Context(), short.ID, admission.ResourceUpdate(0, 0, 0, always)); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("it is removed when it ends: %v", err)
	}
}

func TestAnEndOnPurposeIsNoted(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if err := s.Halt(t.Context(), r.ID); err != nil || !s.record(t, r.ID).Restart.Stopped {
		t.Errorf("%+v, %v", s.record(t, r.ID).Restart, err)
	}
	if err := s.Again(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
	if o, err := s.engine.Inspect(t.Context(), r.ContainerID); err != nil || o.Running() {
		t.Errorf("nobody wished it, and it runs: %v", err)
	}
	if err := s.Start(t.Context(), r.ID); err != nil || s.record(t, r.ID).Restart.Stopped {
		t.Errorf("%+v, %v", s.record(t, r.ID).Restart, err)
	}
	if err := s.Halt(t.Context(), "unknown"); err != nil {
		t.Errorf("what is gone: %v", err)
	}
}

// A start by hand that fails leaves a container that waits to be started
// waiting.
func TestAFailedStartByHandChangesNoWish(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	waits := container.Restart{Policy: container.RestartPolicy{Name: container.RestartAlways}, Count: 3, Due: noon.Add(1), Wait: 1}
	err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State, c.Restart = gpu.Held, waits })
	if err != nil {
		t.Fatal(err)
	}
	s.engine.Fail("Start", errors.New("no"), false)
	if err := s.Start(t.Context(), r.ID); err == nil {
		t.Fatal("no error")
	}
	if got := s.record(t, r.ID); got.Restart != waits || !got.Restarting() {
		t.Errorf("%+v", got.Restart)
	}
}
