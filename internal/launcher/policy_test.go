package launcher_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// rules answer what they are told, and keep what they were asked.
type rules struct {
	verdict policy.Verdict
	err     error
	asked   []policy.Input
}

func (r *rules) Judge(_ context.Context, in policy.Input) (policy.Verdict, error) {
	r.asked = append(r.asked, in)
	return r.verdict, r.err
}

// under puts rules before everything the scene does.
func (s *scene) under(r *rules) *rules {
	s.Policy = func() launcher.Rules { return r }
	return r
}

func no() policy.Verdict {
	return policy.Verdict{Denials: []policy.Denial{{Rule: "site.rego:3", Message: "not today"}}}
}

func less() policy.Verdict {
	return policy.Verdict{Tightenings: []admission.Tightening{{Rule: "site.rego:9", Message: "small is enough", Memory: 512 << 20, Pids: 50}}}
}

// stored returns what the engine has of a container's memory and processes.
func (s *scene) stored(t *testing.T, id string) (memory, pids int64) {
	t.Helper()
	_, raw, err := s.engine.Stored(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		HostConfig struct{ Memory, PidsLimit int64 }
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.HostConfig.Memory, doc.HostConfig.PidsLimit
}

func TestWhatTheSiteDeniesIsNeitherCreatedNorStarted(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.under(&rules{verdict: no()})
	_, _, err := s.Create(t.Context(), request())
	if !errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), "not today (site.rego:3)") {
		t.Fatal(err)
	}
	s.wantNothing(t)
	r.verdict = policy.Verdict{}
	made := s.create(t, request())
	r.verdict = no()
	if err := s.Start(t.Context(), made.ID); !errors.Is(err, problem.ErrDenied) {
		t.Error(err)
	}
	if err := s.StartAsIs(t.Context(), made.ID); !errors.Is(err, problem.ErrDenied) {
		t.Error(err)
	}
	if _, err := s.Update(t.Context(), made.ID, admission.Update{Memory: 256 << 20}); !errors.Is(err, problem.ErrDenied) {
		t.Error(err)
	}
	if s.record(t, made.ID).State != gpu.Bound {
		t.Error(s.record(t, made.ID).State)
	}
	var actions []policy.Action
	for _, in := range r.asked {
		actions = append(actions, in.Action)
	}
	if len(actions) != 5 || actions[0] != policy.ContainerCreate || actions[2] != policy.ContainerStart || actions[4] != policy.ContainerUpdate {
		t.Error(actions)
	}
}

// onlyThe denies containers with a device of any other profile.
type onlyThe string

func (o onlyThe) Judge(_ context.Context, in policy.Input) (policy.Verdict, error) {
	for _, g := range in.Request.GPUs {
		if g.Profile != string(o) {
			return no(), nil
		}
	}
	return policy.Verdict{}, nil
}

func TestRulesJudgeTheDevicesThatAContainerIsToHave(t *testing.T) {
	s, r := runningWith(t, 1)
	s.devices[1].Profile = "2g.20gb"
	s.Policy = func() launcher.Rules { return onlyThe("1g.10gb") }
	if err := s.AddDevices(t.Context(), r.ID, gpu.Request{Count: 1}); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("added: %v", err)
	}
	s.has(t, r.ID, "1", "MIG-0")
	s.engine.Exit(r.ContainerID, 0)
	if err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State = gpu.Released }); err != nil {
		t.Fatal(err)
	}
	s.devices = s.devices[1:] // it can only have the other
	if err := s.Start(t.Context(), r.ID); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("started: %v", err)
	}
	if got := s.record(t, r.ID); got.State != gpu.Released || got.Devices[0].UUID != "MIG-0" {
		t.Errorf("it is %s with %v", got.State, got.Devices)
	}
}

func TestWhatNoRuleCanJudgeIsDenied(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.under(&rules{err: errors.New("it took too long")})
	if _, _, err := s.Create(t.Context(), request()); !errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), "it took too long") {
		t.Error(err)
	}
	s.wantNothing(t)
	if err := s.JudgeImage(t.Context(), "Image x not pulled", policy.ImagePull, alice(), false, policy.Named("x", "", true)); !errors.Is(err, problem.ErrDenied) {
		t.Error(err)
	}
	if in := r.asked[1]; in.Action != policy.ImagePull || in.Request.Image.Repository != "library/x" || in.User.Name != "alice" {
		t.Errorf("%+v", in)
	}
}

// An administrator whose container asks for them doesn't administer.
func TestRulesSeeWhoBuildsAsTheyAsk(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.Roles = func(account.Account) account.Roles { return account.Roles{Admin: true} }
	r := s.under(&rules{})
	for _, admin := range []bool{true, false} {
		if _, err := s.JudgeBuild(t.Context(), launcher.BuildOrder{Account: alice(), Admin: admin}); err != nil {
			t.Fatal(err)
		}
		if in := r.asked[len(r.asked)-1]; in.Action != policy.ImageBuild || in.User.Admin != admin {
			t.Errorf("administers %t: the rules see %+v", admin, in.User)
		}
	}
}

func TestRulesSeeTheSameAtCreateAndAtStart(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.Roles = func(account.Account) account.Roles { return account.Roles{Admin: true} }
	r := s.under(&rules{})
	want := request()
	want.Body.Env, want.Roles.Admin = []string{"TOKEN=hunter2", "A=1", "A=2"}, true
	want.Body.HostConfig.RestartPolicy.Name = container.RestartAlways
	made := s.create(t, want)
	if err := s.Start(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if len(r.asked) != 2 {
		t.Fatal(r.asked)
	}
	for _, in := range r.asked {
		q := in.Request
		if q.Name != "web" || q.Image.Asked != "busybox" || q.Image.Registry != "docker.io" || len(q.GPUs) != 1 || q.GPUs[0].Profile != "full" ||
			len(q.Mounts) != 1 || q.Mounts[0].Source != "/home/alice/work" || q.Memory != 1<<30 || q.PidsLimit != 100 || q.Restart != "always" {
			t.Errorf("%s: %+v", in.Action, q)
		}
		if !in.User.Admin || in.User.UID != 1001 || len(in.User.Groups) != 2 || in.Limits.Memory != 1<<30 || in.Limits.CPUs < 1e9 {
			t.Errorf("%s: %+v %+v", in.Action, in.User, in.Limits)
		}
		text, err := json.Marshal(in)
		if err != nil || strings.Contains(string(text), "hunter2") || strings.Contains(string(text), "null") {
			t.Errorf("%s, %v", text, err)
		}
	}
	if keys := r.asked[0].Request.EnvKeys; strings.Join(keys, " ") != "A NVIDIA_VISIBLE_DEVICES TOKEN" {
		t.Error(keys)
	}
}

func TestWhatTheSiteTightensIsSentAndCannotBeHadBack(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.under(&rules{verdict: less()})
	made, warnings, err := s.Create(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0], "memory to 512MiB: small is enough (site.rego:9)") {
		t.Error(warnings)
	}
	if memory, pids := s.stored(t, made.ContainerID); memory != 512<<20 || pids != 50 {
		t.Error(memory, pids)
	}
	warnings, err = s.Update(t.Context(), made.ID, admission.Update{Memory: 1 << 30})
	if memory, _ := s.stored(t, made.ContainerID); memory != 512<<20 || err != nil || len(warnings) != 1 {
		t.Error(memory, warnings, err)
	}
	r.verdict.Tightenings[0].Memory = 256 << 20
	if err := s.Start(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if memory, _ := s.stored(t, made.ContainerID); memory != 256<<20 {
		t.Error(memory)
	}
}

func TestAContainerThatLacksWhatTheSiteWantsIsNotStarted(t *testing.T) {
	s := newScene(t, admission.UserNS)
	made := s.create(t, request())
	s.under(&rules{verdict: policy.Verdict{Tightenings: []admission.Tightening{{Rule: "site.rego:9", Message: "no sudo", NoNewPrivileges: true}}}})
	err := s.Start(t.Context(), made.ID)
	if !errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), "no-new-privileges: no sudo (site.rego:9)") {
		t.Error(err)
	}
}

func TestATrialChangesNothingAndSaysWhatSetEachField(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.served = true
	s.cgroups.err = errors.New("a trial makes no group")
	s.mounter.refuse["Prepare"] = errors.New("a trial makes no place")
	s.under(&rules{verdict: less()})
	want := request()
	want.Body.Env = []string{"A=1"}
	want.Body.HostConfig.PortBindings = map[string][]admission.PortBinding{"80/tcp": {}}
	got := s.Try(t.Context(), want)
	if got.Refusal != nil || len(got.Slots) != 1 || got.Image.Registry != "docker.io" || len(got.Told) != 2 {
		t.Fatalf("%+v", got)
	}
	set := map[string]string{}
	for _, o := range got.Origins {
		set[o.Field] = o.Value + " by " + o.SetBy
	}
	for field, says := range map[string]string{
		"HostConfig.Memory": "536870912 by site policy, site.rego:9", "HostConfig.MemorySwap": "536870912 by site policy, site.rego:9",
		"Env": `["A=1","NVIDIA_VISIBLE_DEVICES=void"] by request and ds01`, "HostConfig.NetworkMode": `"default._.1001" by ds01`, "HostConfig.CgroupnsMode": `"private" by ds01`, "HostConfig.PortBindings": `{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"20000"}]} by request and ds01`,
		"StopTimeout": "10 by stop_timeout, ",
	} {
		if !strings.HasPrefix(set[field], says) {
			t.Errorf("%s: %s", field, set[field])
		}
	}
	s.wantNothing(t)
	s.under(&rules{verdict: no()})
	got = s.Try(t.Context(), want)
	if !errors.Is(got.Refusal, problem.ErrDenied) || len(got.Origins) == 0 {
		t.Errorf("%+v", got)
	}
	want.Body.HostConfig.Memory = 1 << 40
	if got = s.Try(t.Context(), want); !errors.Is(got.Refusal, problem.ErrLimit) || len(got.Origins) > 0 {
		t.Errorf("%+v", got)
	}
	s.wantNothing(t)
	if p, err := s.registrar.PortPolicy(t.Context(), 4711); err != nil || p.Own.First != 20000 { // the trial took no range
		t.Errorf("%+v, %v", p, err)
	}
}
