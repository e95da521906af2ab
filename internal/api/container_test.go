package api_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/sampler"
)

const web = `{"name":"web","gpus":1,"workspace":"/home/alice/web"}`

func TestAContainersLife(t *testing.T) {
	l := newLab(t)
	var c apitype.Container
	l.must(t, alice, "POST", "/v1/containers", web, &c)
	if c.Name != "web" || c.State != "created" || c.ClaimState != "bound" || c.User != "alice" || c.UID != alice || c.Image != "busybox" ||
		c.Workspace != "/home/alice/web" || len(c.GPUs) != 1 || c.GPUs[0].Slot != "0" || c.HeldUntil == nil || c.Interface != "atomic" {
		t.Errorf("created %+v", c)
	}
	l.must(t, alice, "POST", "/v1/containers/web/start", "", &c)
	if c.State != "running" || c.ClaimState != "running" || c.StartedAt == nil {
		t.Errorf("started %+v", c)
	}
	wantKind(t, l.ask(t, alice, "DELETE", "/v1/containers/web", "", nil), problem.ErrConflict)
	l.must(t, alice, "POST", "/v1/containers/web/stop", `{"timeout_seconds":1}`, &c)
	if c.State != "exited" || c.ClaimState != "held" || c.HeldUntil == nil {
		t.Errorf("stopped %+v", c)
	}
	l.must(t, alice, "DELETE", "/v1/containers/web", "", nil)
	wantKind(t, l.ask(t, alice, "GET", "/v1/containers/web", "", nil), problem.ErrNotFound)
	if len(l.ledger.Records()) != 0 {
		t.Errorf("left %+v", l.ledger.Records())
	}
}

func TestWhatIsWantedOfGPUs(t *testing.T) {
	for body, want := range map[string]error{
		`{"name":"web","gpu_request":"full"}`:             nil,
		`{"name":"web","gpu_request":"1"}`:                nil,
		`{"name":"web","gpu_request":"device=0"}`:         problem.ErrDenied,
		`{"name":"web","gpu_request":"2g.20gb"}`:          problem.ErrInvalid,
		`{"name":"web","gpu_request":"nonsense"}`:         problem.ErrInvalid,
		`{"name":"web","gpus":1,"gpu_request":"full"}`:    problem.ErrInvalid,
		`{"name":"web","gpus":1025}`:                      problem.ErrInvalid,
		`{"name":"web","gpu_request":"1000,full,2xfull"}`: problem.ErrLimit,
	} {
		var c apitype.Container
		switch err := newLab(t).ask(t, alice, "POST", "/v1/containers", body, &c); {
		case want != nil:
			wantKind(t, err, want)
		case err != nil || len(c.GPUs) != 1:
			t.Errorf("%s: %+v, %v", body, c.GPUs, err)
		}
	}
}

func TestContainersOfOthersAreNotThere(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	for _, r := range [][2]string{{"GET", ""}, {"POST", "/start"}, {"POST", "/stop"}, {"DELETE", "?force=true"}} {
		for _, name := range []string{"web", "web._.71001", l.ledger.Records()[0].ContainerID} {
			wantKind(t, l.ask(t, bob, r[0], "/v1/containers/"+name+r[1], "", nil), problem.ErrNotFound)
		}
	}
	var list []apitype.Container
	if l.must(t, bob, "GET", "/v1/containers", "", &list); len(list) != 0 {
		t.Errorf("bob sees %+v", list)
	}
	if l.must(t, alice, "GET", "/v1/containers", "", &list); len(list) != 1 {
		t.Errorf("alice sees %+v", list)
	}
	if l.must(t, admin, "GET", "/v1/containers?all_users=true", "", &list); len(list) != 1 || list[0].EngineName != "web._.71001" {
		t.Errorf("an administrator sees %+v", list)
	}
	var c apitype.Container
	if l.must(t, admin, "GET", "/v1/containers/web?user=alice", "", &c); c.User != "alice" {
		t.Errorf("for alice: %+v", c)
	}
	var gpus []apitype.GPU
	if l.must(t, bob, "GET", "/v1/gpus", "", &gpus); len(gpus) != 1 || gpus[0].Holder == nil || gpus[0].Holder.User != "alice" || gpus[0].Holder.Container != "" {
		t.Errorf("bob sees %+v", gpus[0].Holder)
	}
	if l.must(t, alice, "GET", "/v1/gpus", "", &gpus); gpus[0].Holder.Container != "web" {
		t.Errorf("alice sees %+v", gpus[0].Holder)
	}
}

func TestAnAdministratorMakesContainersForOthersWithinTheirLimits(t *testing.T) {
	l := newLab(t)
	var c apitype.Container
	l.must(t, admin, "POST", "/v1/containers?user=alice", web, &c)
	if c.User != "alice" || c.UID != alice {
		t.Errorf("got %+v", c)
	}
	err := l.ask(t, admin, "POST", "/v1/containers?user=alice", strings.Replace(web, "web", "two", 1), nil)
	wantKind(t, err, problem.ErrLimit)
}

func TestWhatCannotBeCreatedIsInvalid(t *testing.T) {
	l := newLab(t)
	for _, body := range []string{
		``, `{}`, `{"name":"-x"}`, `{"name":"a._.b"}`, `{"name":"x","gpus":-1}`, `{"name":"x","gpus":5000}`, `{"name":"x","workspace":"rel"}`,
		`{"name":"x","data":"../x"}`, `{"name":"x","interface":"mlc"}`, `{"name":"x","gpu":1}`, `{"name":`, `[]`,
	} {
		wantKind(t, l.ask(t, alice, "POST", "/v1/containers", body, nil), problem.ErrInvalid)
	}
	wantKind(t, l.ask(t, alice, "POST", "/v1/containers", `{"name":"x","image":"none"}`, nil), problem.ErrNotFound)
	if len(l.ledger.Records()) != 0 {
		t.Errorf("left %+v", l.ledger.Records())
	}
}

func TestAdopt(t *testing.T) {
	l := newLab(t)
	id, _, err := l.engine.Create(t.Context(), "old._.71002", "", []byte(`{"Image":"busybox"}`))
	if err != nil {
		t.Fatal(err)
	}
	l.engine.Hint(id, gpu.Hints{All: true})
	if err := l.reconciler.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list []apitype.Container
	if l.must(t, admin, "GET", "/v1/containers?all_users=true", "", &list); len(list) != 1 || !list[0].Quarantined || len(list[0].GPUs) != 1 {
		t.Fatalf("got %+v", list)
	}
	wantKind(t, l.ask(t, bob, "GET", "/v1/containers/old", "", nil), problem.ErrNotFound)
	for _, body := range []string{`{"user":"nobody"}`, `{}`} {
		wantKind(t, l.ask(t, admin, "POST", "/v1/containers/"+id+"/adopt", body, nil), problem.ErrNotFound)
	}
	wantKind(t, l.ask(t, admin, "POST", "/v1/containers/"+id+"/adopt", `{"user":"bob","name":"a b"}`, nil), problem.ErrInvalid)
	wantKind(t, l.ask(t, admin, "POST", "/v1/containers/none/adopt", `{"user":"bob"}`, nil), problem.ErrNotFound)
	var c apitype.Container
	l.must(t, admin, "POST", "/v1/containers/"+id[:12]+"/adopt", `{"user":"bob"}`, &c)
	if c.Name != "old" || c.User != "bob" || c.Quarantined || len(c.GPUs) != 1 {
		t.Errorf("got %+v", c)
	}
	if l.must(t, bob, "GET", "/v1/containers/old", "", &c); c.ID != id {
		t.Errorf("bob sees %+v", c)
	}
}

func TestAClaimWithoutAnAnswerIsShownAsPending(t *testing.T) {
	l := newLab(t)
	l.engine.Fail("Create", errors.New("connection reset"), false)
	wantKind(t, l.ask(t, alice, "POST", "/v1/containers", web, nil), problem.ErrUnavailable)
	var c apitype.Container
	if l.must(t, alice, "GET", "/v1/containers/web", "", &c); c.State != "pending" || c.ID != "" {
		t.Errorf("got %+v", c)
	}
	for _, r := range [][2]string{{"POST", "/start"}, {"POST", "/stop"}, {"DELETE", ""}} {
		if err := l.ask(t, alice, r[0], "/v1/containers/web"+r[1], "", nil); !errors.Is(err, problem.ErrConflict) {
			t.Errorf("%s of what is pending: %v", r[1], err)
		}
	}
}

func TestLimits(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	var all []apitype.UserLimits
	l.must(t, alice, "GET", "/v1/limits", "", &all)
	if len(all) != 1 || all[0].User != "alice" {
		t.Fatalf("got %+v", all)
	}
	for _, u := range all[0].Usage {
		if u.Key == "max_mig_instances" && (u.Used != 1 || u.Limit != 1 || u.Text != "1 of 1") {
			t.Errorf("got %+v", u)
		}
	}
	for _, v := range all[0].Limits {
		if v.Key == "memory" && (v.Value != "1GiB" || v.Source != "defaults, limits.yaml:1") {
			t.Errorf("got %+v", v)
		}
	}
	l.must(t, admin, "GET", "/v1/limits?all=true", "", &all)
	if len(all) != 3 || all[0].User != "alice" || all[1].User != "bob" {
		t.Errorf("got %d people", len(all))
	}
	var changes []apitype.LimitChange
	l.must(t, admin, "POST", "/v1/limits/diff", `{"name":"new.yaml","yaml":"defaults: {max_mig_instances: 1, max_gpus_per_container: 1, allow_full_gpu: true, memory: 2g, memory_swap: 2g, max_containers_per_user: 3}\n"}`, &changes)
	if len(changes) != 6 || changes[0].Key != "memory" || changes[0].Before != "1GiB" || changes[0].After != "2GiB" {
		t.Errorf("got %+v", changes)
	}
	err := l.ask(t, admin, "POST", "/v1/limits/diff", `{"name":"new.yaml","yaml":"defaults: {memory: 2}\n"}`, nil)
	if wantKind(t, err, problem.ErrInvalid); err != nil && !strings.Contains(err.Error(), "new.yaml:1") {
		t.Errorf("got %v", err)
	}
}

func TestDashboardAndStatsShowOnesOwn(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	l.must(t, alice, "POST", "/v1/containers/web/start", "", nil)
	for uid, want := range map[int]int{alice: 1, bob: 0, admin: 1} {
		var d apitype.Dashboard
		if l.must(t, uid, "GET", "/v1/dashboard", "", &d); len(d.Containers) != want || d.Host != "lab" || len(d.GPUs) != 1 {
			t.Errorf("%d sees %+v", uid, d)
		}
	}
	for target, want := range map[string]int{"/v1/stats": 0, "/v1/stats?all_users=true": 1} {
		var stats []apitype.Stats
		if l.must(t, admin, "GET", target, "", &stats); len(stats) != want {
			t.Errorf("%s: %+v", target, stats)
		}
	}
}

func TestReadingsAreSetWhereDevicesAreSimulated(t *testing.T) {
	l := newLab(t)
	l.must(t, admin, "POST", "/v1/gpus/GPU-0/sim", `{"utilization_percent":80}`, nil)
	if len(l.simulator.told) != 1 || l.simulator.told[0] != "GPU-0" {
		t.Errorf("told %v", l.simulator.told)
	}
	wantKind(t, l.ask(t, admin, "POST", "/v1/gpus/GPU-0/sim", `{"utilisation":80}`, nil), problem.ErrInvalid)
}

func TestDoctorTellsWhatIsMissing(t *testing.T) {
	l := newLab(t)
	results := func(uid int) map[string]string {
		var d apitype.Doctor
		l.must(t, uid, "GET", "/v1/doctor", "", &d)
		found := map[string]string{}
		for _, c := range d.Checks {
			found[c.Name] = c.Result
			if c.Detail == "" || c.Result == apitype.CheckFail && c.Next == "" {
				t.Errorf("%+v says too little", c)
			}
		}
		return found
	}
	if got := results(outside); got["engine"] != "ok" || !strings.Contains(strings.Join(values(got), " "), "fail") {
		t.Errorf("mallory is told %v", got)
	}
	if got := results(alice); strings.Contains(strings.Join(values(got), " "), "fail") {
		t.Errorf("alice is told %v", got)
	}
	if got := results(admin); len(got) <= len(results(alice)) || got["runc version"] != "warn" || got["docker group"] != "ok" {
		t.Errorf("an administrator is told %v", got)
	}
	if got := results(alice); got["runc version"] != "" || got["docker group"] != "" {
		t.Errorf("alice is told of the host: %v", got)
	}
}

func TestDoctorTellsOfWhatTheEngineSaysNothingAbout(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	l.engine.Delay(l.ledger.Records()[0].ContainerID, time.Hour)
	if err := l.reconciler.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[int]string{alice: "your container web (", admin: "alice's container web (", bob: ""} {
		var d apitype.Doctor
		l.must(t, uid, "GET", "/v1/doctor", "", &d)
		got := d.Checks[0]
		if got.Name != "engine" || (got.Result == apitype.CheckWarn) != (want != "") || !strings.Contains(got.Detail, want) {
			t.Errorf("%d is told %+v", uid, got)
		}
	}
}

func TestDoctorTellsAdministratorsHowLibrariesCome(t *testing.T) {
	refused := &problem.Error{What: "GPU not granted", Why: problem.Because(problem.ErrUnavailable, "there is no CDI"), Next: "Change that."}
	none, cdi, hook := config.LibrariesNone, config.LibrariesCDI, config.LibrariesHook
	for name, c := range map[string]struct {
		provider, libraries string
		engine              container.EngineInfo
		problem             error
		result, says        string
	}{
		"simulated":                  {"sim", none, container.EngineInfo{Version: "1"}, nil, "ok", "simulated"},
		"CDI":                        {"nvml", cdi, container.EngineInfo{Version: "1", CDI: true, CDISpec: true}, nil, "ok", "by cdi."},
		"CDI without specification":  {"nvml", cdi, container.EngineInfo{Version: "1", CDI: true}, nil, "warn", "no nvidia.yaml"},
		"CDI on an engine without":   {"nvml", none, container.EngineInfo{Version: "1"}, refused, "fail", "GPU not granted: there is no CDI."},
		"the hook":                   {"nvml", hook, container.EngineInfo{Version: "1", Hook: true}, nil, "ok", "by hook."},
		"a hook that isn't seen":     {"nvml", hook, container.EngineInfo{Version: "1"}, nil, "warn", "isn't on ds01's PATH"},
		"none":                       {"nvml", none, container.EngineInfo{Version: "1"}, nil, "warn", "no driver libraries"},
		"an engine that never spoke": {"nvml", none, container.EngineInfo{}, nil, "warn", "isn't known"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.state.GPUProvider, l.state.Libraries, l.state.Engine, l.state.LibrariesProblem = c.provider, c.libraries, c.engine, c.problem
			var d apitype.Doctor
			l.must(t, admin, "GET", "/v1/doctor", "", &d)
			i := slices.IndexFunc(d.Checks, func(c apitype.Check) bool { return c.Name == "gpu libraries" })
			if i < 0 {
				t.Fatal("nothing is said of libraries")
			}
			if got := d.Checks[i]; got.Result != c.result || !strings.Contains(got.Detail, c.says) || (got.Result == "ok") != (got.Next == "") {
				t.Errorf("told %+v", got)
			}
		})
	}
}

func TestDoctorTellsWhetherGPUsComeAtEachStart(t *testing.T) {
	for name, c := range map[string]struct {
		libraries    string
		engine       container.EngineInfo
		result, says string
	}{
		"with the runtime":           {config.LibrariesHook, container.EngineInfo{Version: "1", AtStart: true}, "ok", "starts on another"},
		"without":                    {config.LibrariesHook, container.EngineInfo{Version: "1"}, "warn", "runtime ds01"},
		"with CDI":                   {config.LibrariesCDI, container.EngineInfo{Version: "1", AtStart: true, CDI: true}, "warn", "with CDI"},
		"an engine that never spoke": {config.LibrariesNone, container.EngineInfo{}, "warn", "isn't known"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.state.Libraries, l.state.Engine = c.libraries, c.engine
			var d apitype.Doctor
			l.must(t, admin, "GET", "/v1/doctor", "", &d)
			i := slices.IndexFunc(d.Checks, func(c apitype.Check) bool { return c.Name == "gpus at start" })
			if i < 0 {
				t.Fatal("nothing is said of it")
			}
			if got := d.Checks[i]; got.Result != c.result || !strings.Contains(got.Detail, c.says) || (got.Result == "ok") != (got.Next == "") {
				t.Errorf("told %+v", got)
			}
		})
	}
}

func TestDoctorTellsOfTheSitesRules(t *testing.T) {
	const broken = "site.rego:3: undefined function http.send"
	for name, c := range map[string]struct {
		rules        int
		problem      string
		stays        bool
		uid          int
		result, says string
	}{
		"none":                           {0, "", false, admin, "ok", "There is none"},
		"some":                           {5, "", false, admin, "ok", "5 rules are in force"},
		"broken at a reload":             {5, broken, true, admin, "fail", "the last good ones are: site.rego:3"},
		"broken at the start":            {0, broken, false, admin, "fail", "no container is created or started and no image pulled or pushed: site.rego:3"},
		"broken at the start, to people": {0, broken, false, alice, "fail", "no image pulled or pushed."},
		"good, to people":                {5, "", false, alice, "", ""},
		"broken at a reload, to people":  {5, broken, true, alice, "", ""},
	} {
		l := newLab(t)
		l.state.PolicyRules, l.state.PolicyProblem, l.state.PolicyStays = c.rules, c.problem, c.stays
		var d apitype.Doctor
		l.must(t, c.uid, "GET", "/v1/doctor", "", &d)
		var got apitype.Check
		for _, check := range d.Checks {
			if check.Name == "site policy" {
				got = check
			}
		}
		if got.Result != c.result || !strings.Contains(got.Detail, c.says) || (got.Result == "fail") != (got.Next != "") || c.uid == alice && strings.Contains(got.Detail, broken) {
			t.Errorf("%s: told %+v", name, got)
		}
	}
}

func TestDoctorTellsHowFullTheEnginesDiskIs(t *testing.T) {
	const gib = quantity.ByteSize(1 << 30)
	for name, c := range map[string]struct {
		space        container.Space
		result, says string
	}{
		"room":                       {container.Space{Known: true, Path: "/d", Total: 1000 * gib, Free: 500 * gib, Keep: 10 * gib}, "ok", "has 500GiB of 1000GiB free; 10GiB must stay free"},
		"little room":                {container.Space{Known: true, Path: "/d", Total: 1000 * gib, Free: 19 * gib, Keep: 10 * gib}, "warn", "19GiB of 1000GiB"},
		"no room":                    {container.Space{Known: true, Path: "/d", Total: 1000 * gib, Free: 9 * gib, Keep: 10 * gib}, "fail", "No image is pulled"},
		"a data root elsewhere":      {container.Space{Path: "/far/docker"}, "warn", "/far/docker, which isn't on this host"},
		"an engine that never spoke": {container.Space{}, "warn", "isn't known"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.state.Space = c.space
			var d apitype.Doctor
			l.must(t, alice, "GET", "/v1/doctor", "", &d)
			i := slices.IndexFunc(d.Checks, func(c apitype.Check) bool { return c.Name == "disk" })
			if got := d.Checks[i]; got.Result != c.result || !strings.Contains(got.Detail, c.says) || (got.Result == "ok") != (got.Next == "") {
				t.Errorf("told %+v", got)
			}
		})
	}
}

func TestDoctorTellsWhetherMailIsSent(t *testing.T) {
	for name, c := range map[string]struct {
		hook, problem, result, says string
		uid                         int
	}{
		"no program":    {"", "", "ok", "Nobody gets mail", admin},
		"it sends":      {"/usr/sbin/sendmail", "", "ok", "/usr/sbin/sendmail", admin},
		"it fails":      {"/usr/sbin/sendmail", "the last (2 in a row) wasn't sent: exit status 75", "warn", "the last (2 in a row) wasn't sent", admin},
		"to people not": {"/usr/sbin/sendmail", "the last (2 in a row) wasn't sent: exit status 75", "", "", alice},
	} {
		l := newLab(t)
		l.state.MailHook, l.state.MailProblem = c.hook, c.problem
		var d apitype.Doctor
		l.must(t, c.uid, "GET", "/v1/doctor", "", &d)
		var got apitype.Check
		for _, check := range d.Checks {
			if check.Name == "mail" {
				got = check
			}
		}
		if got.Result != c.result || !strings.Contains(got.Detail, c.says) || (got.Result == "warn") != (got.Next != "") {
			t.Errorf("%s: told %+v", name, got)
		}
	}
}

func TestDoctorTellsWhatIsNotKnownOfActivity(t *testing.T) {
	for name, c := range map[string]struct {
		gaps []sampler.Gap
		uid  int
		says []string
	}{
		"all is known":           {nil, admin, []string{"ok What containers do is known."}},
		"a GPU isn't":            {[]sampler.Gap{{Figure: "GPU", Containers: 2}}, admin, []string{"warn How busy its GPU is wasn't told of 2 containers: they count as busy."}},
		"disks never, and a CPU": {[]sampler.Gap{{Figure: "processor time", Containers: 1, Why: "it is gone"}, {Figure: "disk", Never: true, Containers: 3}}, admin, []string{"warn The processor time of 1 containers couldn't be read, and they count as busy: it is gone.", "warn What containers do to disks is counted nowhere on this host, and is left out when it is judged whether one is idle."}},
		"it is no one else's":    {[]sampler.Gap{{Figure: "GPU", Containers: 2}}, alice, nil},
	} {
		l := newLab(t)
		l.state.Gaps = c.gaps
		var d apitype.Doctor
		l.must(t, c.uid, "GET", "/v1/doctor", "", &d)
		var says []string
		for _, check := range d.Checks {
			if check.Name == "activity" {
				says = append(says, check.Result+" "+check.Detail)
			}
		}
		if !slices.Equal(says, c.says) {
			t.Errorf("%s: told %q", name, says)
		}
	}
}

func values(m map[string]string) (all []string) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}
