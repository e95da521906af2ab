package admission_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// tighten takes a body all the way with tightenings.
func tighten(t testing.TB, isolation admission.Isolation, body string, all ...admission.Tightening) (admission.Tightened, error) {
	t.Helper()
	c, err := admission.DecodeCreate([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	ask, err := c.Ask()
	if err != nil {
		t.Fatal(err)
	}
	return admission.Tighten(c, subject(t, isolation), grant(ask), all)
}

// takes is a tightening with what has to be in each.
func takes(t admission.Tightening) admission.Tightening {
	t.Rule, t.Message = "site.rego:3", "because"
	return t
}

func TestTightenTakesWhatItSaysAndNothingElse(t *testing.T) {
	both(t, func(t *testing.T, isolation admission.Isolation) {
		for name, c := range map[string]struct {
			body    string
			t       admission.Tightening
			changes []string // field, before and after
		}{
			"memory, and swap with it":          {`{"HostConfig":{}}`, admission.Tightening{Memory: 1 << 30}, []string{"memory 2GiB 1GiB"}},
			"memory that was asked for":         {`{"HostConfig":{"Memory":1610612736,"MemoryReservation":1610612736}}`, admission.Tightening{Memory: 1 << 30}, []string{"memory 1.5GiB 1GiB"}},
			"memory that is lower already":      {`{"HostConfig":{"Memory":536870912}}`, admission.Tightening{Memory: 1 << 30}, nil},
			"memory with a tmpfs in it":         {`{"HostConfig":{"Tmpfs":{"/scratch":""}}}`, admission.Tightening{Memory: 1 << 30}, []string{"memory 2GiB 1GiB"}},
			"processors":                        {`{}`, admission.Tightening{CPUs: quantity.OneCPU / 2}, []string{"cpus 2 0.5"}},
			"processes":                         {`{"HostConfig":{"PidsLimit":100}}`, admission.Tightening{Pids: 10}, []string{"pids_limit 100 10"}},
			"shared memory":                     {`{"HostConfig":{"ShmSize":134217728}}`, admission.Tightening{ShmSize: 1 << 20}, []string{"shm_size 128MiB 1MiB"}},
			"the network":                       {`{}`, admission.Tightening{NoNetwork: true}, []string{"network default._.1001 none"}},
			"a network that it hasn't":          {`{"HostConfig":{"NetworkMode":"none"}}`, admission.Tightening{NoNetwork: true}, nil},
			"privileges":                        {`{}`, admission.Tightening{NoNewPrivileges: true}, []string{"no_new_privileges false true"}},
			"privileges that are gone":          {`{"HostConfig":{"SecurityOpt":["no-new-privileges:true"]}}`, admission.Tightening{NoNewPrivileges: true}, nil},
			"capabilities":                      {`{"HostConfig":{"CapDrop":["CAP_CHOWN"]}}`, admission.Tightening{CapDrop: []string{"NET_RAW", "CHOWN"}}, []string{"cap_drop CAP_CHOWN MKNOD CAP_CHOWN MKNOD NET_RAW"}},
			"capabilities that are dropped all": {`{"HostConfig":{"CapDrop":["ALL"]}}`, admission.Tightening{CapDrop: []string{"NET_RAW"}}, nil},
		} {
			t.Run(name, func(t *testing.T) {
				before := mustReview(t, isolation, c.body)
				got, err := tighten(t, isolation, c.body, takes(c.t))
				if err != nil {
					t.Fatal(err)
				}
				var changes []string
				for _, ch := range got.Changes {
					changes = append(changes, strings.Join([]string{ch.Field, ch.Before, ch.After}, " "))
				}
				if diff := cmp.Diff(c.changes, changes); diff != "" {
					t.Error(diff)
				}
				if len(changes) == 0 && encode(t, before) != encode(t, got.Body) {
					t.Errorf("nothing is told, and this changed:\n%s\n%s", encode(t, before), encode(t, got.Body))
				}
			})
		}
	})
}

func TestTightenKeepsSwapBesideLowerMemory(t *testing.T) {
	got, err := tighten(t, admission.UserNS, `{}`, takes(admission.Tightening{Memory: 1 << 30}))
	if h := got.Body.HostConfig; err != nil || h.Memory != 1<<30 || h.MemorySwap != 2<<30 { // 2 and 3 GiB before
		t.Errorf("%+v, %v", h, err)
	}
}

func TestTightenGivesNoSwapWhereNoneWasWanted(t *testing.T) {
	got, err := tighten(t, admission.UserNS, `{"HostConfig":{"Memory":1610612736,"MemorySwap":1610612736}}`, takes(admission.Tightening{Memory: 1 << 30}))
	if h := got.Body.HostConfig; err != nil || h.Memory != 1<<30 || h.MemorySwap != 1<<30 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestATakenNetworkIsNeitherSentNorMade(t *testing.T) {
	got, err := tighten(t, admission.UserNS, `{"NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["x"]}}}}`, takes(admission.Tightening{NoNetwork: true}))
	if err != nil || got.Body.HostConfig.NetworkMode != "none" || len(got.Body.NetworkingConfig.EndpointsConfig) > 0 || len(got.Grant.Networks.Endpoints) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheStrictestOfSeveralTighteningsHolds(t *testing.T) {
	for _, order := range [][]int64{{1 << 30, 1 << 29}, {1 << 29, 1 << 30}} {
		got, err := tighten(t, admission.UserNS, `{}`, takes(admission.Tightening{Memory: order[0]}), takes(admission.Tightening{Memory: order[1]}))
		if err != nil || got.Body.HostConfig.Memory != 1<<29 {
			t.Error(got.Body.HostConfig.Memory, err)
		}
	}
}

func TestANetworkThatPortsNeedIsNotTakenInSilence(t *testing.T) {
	c, err := admission.DecodeCreate([]byte(`{"HostConfig":{"PortBindings":{"80/tcp":[{}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	ask, err := c.Ask()
	if err != nil {
		t.Fatal(err)
	}
	g := grant(ask)
	g.Ports = []port.Port{{Container: 80, Protocol: port.TCP, Host: 20000, Address: "127.0.0.1"}}
	_, err = admission.Tighten(c, subject(t, admission.UserNS), g, []admission.Tightening{takes(admission.Tightening{NoNetwork: true})})
	wantProblem(t, err, problem.ErrDenied, "-p needs one: because (site.rego:3)")
}

func TestATighteningIsCheckedBeforeItCounts(t *testing.T) {
	for says, bad := range map[string]admission.Tightening{
		"says why":              {Memory: 1 << 30},
		"takes nothing":         takes(admission.Tightening{}),
		"engine's least, 62914": takes(admission.Tightening{Memory: 1024}),
		"least, 0.01":           takes(admission.Tightening{CPUs: 1}),
		"no number of proc":     takes(admission.Tightening{Pids: -1}),
		"no number of bytes":    takes(admission.Tightening{ShmSize: -1}),
		"no capability such":    takes(admission.Tightening{CapDrop: []string{"CAP_CHOWN"}}),
	} {
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	if err := takes(admission.Tightening{CapDrop: []string{"ALL"}}).Check(); err != nil {
		t.Error(err)
	}
}

func TestTheProofFindsEveryFieldThatIsLooser(t *testing.T) {
	base := mustReview(t, admission.UserNS, `{"Env":["A=1"],"HostConfig":{"CapDrop":["CHOWN"],"SecurityOpt":["no-new-privileges"],"ShmSize":1048576,"Tmpfs":{"/t":"size=1m"}}}`)
	more := int64(1 << 40)
	for field, loosen := range map[string]func(*admission.Create){
		"memory":           func(c *admission.Create) { c.HostConfig.Memory = 0 },
		"memory and swap":  func(c *admission.Create) { c.HostConfig.MemorySwap = -1 },
		"cpus":             func(c *admission.Create) { c.HostConfig.NanoCPUs++ },
		"pids_limit":       func(c *admission.Create) { c.HostConfig.PidsLimit = &more },
		"shm_size":         func(c *admission.Create) { c.HostConfig.ShmSize = 0 },
		"network":          func(c *admission.Create) { c.HostConfig.NetworkMode = "host" },
		"security options": func(c *admission.Create) { c.HostConfig.SecurityOpt = nil },
		"capabilities":     func(c *admission.Create) { c.HostConfig.CapDrop = []string{"MKNOD"} },
		"tmpfs":            func(c *admission.Create) { c.HostConfig.Tmpfs = map[string]string{"/t": "nosuid,nodev,size=2097152"} },
		"another field":    func(c *admission.Create) { c.User = "0" },
	} {
		after := base
		if loosen(&after); admission.Looser(base, after) != field {
			t.Errorf("%s: got %q", field, admission.Looser(base, after))
		}
	}
	if field := admission.Looser(base, base); field != "" {
		t.Error(field)
	}
}

// bounds is what counts of an encoded request, read without admission's help.
type bounds struct {
	HostConfig struct {
		Memory, MemorySwap, NanoCpus, PidsLimit, ShmSize int64
		CapDrop, SecurityOpt                             []string
		NetworkMode                                      string
	}
}

func TestNoTighteningLoosensAnything(t *testing.T) {
	bodies := []string{
		`{}`, `{"HostConfig":{"Memory":1073741824,"MemorySwap":-1,"MemoryReservation":1000000000}}`,
		`{"HostConfig":{"NanoCpus":1000000000,"PidsLimit":-1,"ShmSize":67108864,"CapDrop":["ALL"]}}`,
		`{"HostConfig":{"Binds":["/home/alice/x:/x"],"Tmpfs":{"/t":""},"SecurityOpt":["no-new-privileges=true"]}}`,
		`{"HostConfig":{"NetworkMode":"none","PidsLimit":20}}`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		body := rapid.SampledFrom(bodies).Draw(rt, "body")
		isolation := rapid.SampledFrom([]admission.Isolation{admission.UserNS, admission.UID}).Draw(rt, "isolation")
		draw := rapid.Custom(func(rt *rapid.T) admission.Tightening {
			return takes(admission.Tightening{
				Memory: rapid.Int64Range(6<<20, 4<<30).Draw(rt, "memory"), CPUs: quantity.CPUs(rapid.Int64Range(1e7, 8e9).Draw(rt, "cpus")),
				Pids: rapid.Int64Range(0, 500).Draw(rt, "pids"), ShmSize: rapid.Int64Range(0, 2<<30).Draw(rt, "shm"),
				NoNetwork: rapid.Bool().Draw(rt, "network"), NoNewPrivileges: rapid.Bool().Draw(rt, "privileges"),
				CapDrop: rapid.SliceOf(rapid.SampledFrom([]string{"CHOWN", "NET_RAW", "ALL"})).Draw(rt, "capabilities"),
			})
		})
		all := rapid.SliceOfN(draw, 1, 3).Draw(rt, "tightenings")
		got, err := tighten(t, isolation, body, all...)
		if err != nil {
			rt.Fatal(err)
		}
		var before, after bounds
		for text, to := range map[string]*bounds{encode(t, mustReview(t, isolation, body)): &before, encode(t, got.Body): &after} {
			if err := json.Unmarshal([]byte(text), to); err != nil {
				rt.Fatal(err)
			}
		}
		b, a := before.HostConfig, after.HostConfig
		least := all[0].Memory
		for _, one := range all {
			least = min(least, one.Memory)
		}
		switch {
		case a.Memory > b.Memory, a.Memory > least, a.MemorySwap > b.MemorySwap && b.MemorySwap > 0, a.NanoCpus > b.NanoCpus, a.PidsLimit > b.PidsLimit || a.PidsLimit <= 0, a.ShmSize > b.ShmSize:
			rt.Errorf("more than before: %+v, then %+v", b, a)
		case slices.ContainsFunc(b.CapDrop, func(c string) bool { return !slices.Contains(a.CapDrop, c) }), len(a.SecurityOpt) < len(b.SecurityOpt):
			rt.Errorf("had back: %+v, then %+v", b, a)
		case a.NetworkMode != b.NetworkMode && a.NetworkMode != "none":
			rt.Error(a.NetworkMode)
		}
	})
}

func TestAStoredContainerIsBroughtWithinOrRefused(t *testing.T) {
	st, err := admission.DecodeStored([]byte(`{"Config":{"Env":["A=1"]},"HostConfig":{"Memory":2147483648,"MemorySwap":3221225472,"NanoCpus":2000000000,"NetworkMode":"default"}}`))
	if err != nil {
		t.Fatal(err)
	}
	u, changes, err := st.Tighten("Container not started", admission.Update{}, []admission.Tightening{takes(admission.Tightening{Memory: 1 << 30, CPUs: quantity.OneCPU, Pids: 10})})
	if err != nil || u.Memory != 1<<30 || u.MemorySwap != 2<<30 || u.NanoCPUs != 1e9 || u.PidsLimit == nil || *u.PidsLimit != 10 || len(changes) != 3 {
		t.Errorf("%+v, %v, %v", u, changes, err)
	}
	u, changes, err = st.Tighten("Container not updated", admission.Update{Memory: 3 << 30, MemorySwap: 3 << 30}, []admission.Tightening{takes(admission.Tightening{Memory: 4 << 30})})
	if err != nil || u.Memory != 3<<30 || len(changes) != 0 {
		t.Errorf("%+v, %v, %v", u, changes, err)
	}
	for says, bad := range map[string]admission.Tightening{
		"a /dev/shm of at most 1MiB: because": {ShmSize: 1 << 20},
		"to have no network":                  {NoNetwork: true},
		"no-new-privileges":                   {NoNewPrivileges: true},
		"--cap-drop NET_RAW":                  {CapDrop: []string{"NET_RAW"}},
	} {
		_, _, err := st.Tighten("Container not started", admission.Update{}, []admission.Tightening{takes(bad)})
		wantProblem(t, err, problem.ErrDenied, says)
	}
}
