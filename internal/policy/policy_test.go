package policy_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func found(value string) []policy.Finding {
	return []policy.Finding{{Rule: "site.rego:3", Value: []byte(value)}}
}

func TestReadTakesWhatIsDocumented(t *testing.T) {
	v, err := policy.Read(found(`"not  today"`), found(`{"message":"m","memory":1073741824,"cpus":1.5,"pids_limit":10,"shm_size":1048576,"network":"none","no_new_privileges":true,"cap_drop":["NET_RAW"]}`))
	want := policy.Verdict{
		Denials: []policy.Denial{{Rule: "site.rego:3", Message: "not  today"}},
		Tightenings: []admission.Tightening{{
			Rule: "site.rego:3", Message: "m", Memory: 1 << 30, CPUs: quantity.OneCPU * 3 / 2, Pids: 10, ShmSize: 1 << 20,
			NoNetwork: true, NoNewPrivileges: true, CapDrop: []string{"NET_RAW"},
		}},
	}
	if diff := cmp.Diff(want, v); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestReadRefusesNonsense(t *testing.T) {
	for name, value := range map[string]string{
		"no message": `3`, "an empty message": `" "`, "a message that can't be shown": `"\u0001"`, "an object": `{"msg":"x"}`, "null": `null`, "a list": `["x"]`,
	} {
		if v, err := policy.Read(found(value), nil); err == nil || !strings.Contains(err.Error(), "site.rego:3") {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	for name, value := range map[string]string{
		"a text": `"memory"`, "nothing": `{}`, "nothing but words": `{"message":"x"}`, "no words": `{"memory":1073741824}`,
		"an unknown key": `{"message":"x","memory":1073741824,"privileged":true}`, "a key in other case": `{"message":"x","pids_limit":1,"Memory":1073741824}`,
		"memory with a unit": `{"message":"x","memory":"4GiB"}`, "no memory": `{"message":"x","memory":0}`, "negative memory": `{"message":"x","memory":-1}`,
		"half a byte": `{"message":"x","memory":1073741824.5}`, "no processors": `{"message":"x","cpus":0}`, "negative processors": `{"message":"x","cpus":-1}`,
		"processors without number": `{"message":"x","cpus":1e300}`, "no processes": `{"message":"x","pids_limit":0}`,
		"the host's network": `{"message":"x","network":"host"}`, "privileges": `{"message":"x","no_new_privileges":false}`,
		"a capability of another kind": `{"message":"x","cap_drop":[1]}`, "a capability that is none": `{"message":"x","cap_drop":["net raw"]}`,
	} {
		if v, err := policy.Read(nil, found(value)); err == nil || !strings.Contains(err.Error(), "site.rego:3") {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	if _, err := policy.Read(make([]policy.Finding, 60), make([]policy.Finding, 60)); err == nil {
		t.Error("any number of answers is read")
	}
}

func TestARefusalNamesEveryRule(t *testing.T) {
	v, err := policy.Read([]policy.Finding{{Rule: "b.rego:1", Value: []byte(`"second."`)}, {Rule: "a.rego:9", Value: []byte(`"first\u001b[31m"`)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = v.Refusal("Container web not created")
	if !errors.Is(err, problem.ErrDenied) || err.Error() != "Container web not created: site policy: first [31m (a.rego:9); second (b.rego:1)" {
		t.Error(err)
	}
	if err := (policy.Verdict{}).Refusal("x"); err != nil {
		t.Error(err)
	}
}

func TestEveryFieldIsThereAndAmountsCompare(t *testing.T) {
	who := account.Account{UID: 1001, Name: "alice"}
	l := limits.Limits{Memory: quantity.None[quantity.ByteSize](), MaxDevices: quantity.To(2)}
	zone := time.FixedZone("there", 2*60*60)
	in := policy.New(policy.ContainerStart, who, true, l, policy.RequestOf(admission.Create{}, policy.Facts{}), time.Date(2030, 5, 17, 23, 30, 0, 0, time.UTC).In(zone))
	if q := in.Request; q.Memory != policy.Unlimited || q.CPUs < 1e9 || q.PidsLimit != policy.Unlimited || q.ShmSize != 64<<20 || in.Limits.Memory != policy.Unlimited || in.Limits.GPUs != 2 {
		t.Errorf("%+v %+v", q, in.Limits)
	}
	if n := in.Now; n.RFC3339 != "2030-05-17T23:30:00Z" || n.Date != "2030-05-18" || n.Weekday != "Saturday" || n.Hour != 1 || n.Minute != 30 || n.Zone != "+02:00" {
		t.Errorf("%+v", n)
	}
	for f, v := range reflect.ValueOf(in.Request).Fields() {
		if (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.IsNil() {
			t.Errorf("%s is null", f.Name)
		}
	}
}

func TestImagesAreKnownByTheNamesThatTheyHave(t *testing.T) {
	const uid = 1001
	for name, c := range map[string]struct {
		got  policy.Image
		want policy.Image
	}{
		"a short name":           {policy.Named("busybox", "", false), policy.Image{Asked: "busybox", Registry: "docker.io", Repository: "library/busybox", Tag: "latest"}},
		"a registry with a port": {policy.Named("reg.example:5000/a/b", "1", false), policy.Image{Asked: "reg.example:5000/a/b", Registry: "reg.example:5000", Repository: "a/b", Tag: "1"}},
		"a digest apart": {policy.Named("ghcr.io/x/y", "sha256:"+strings.Repeat("a", 64), true), policy.Image{
			Asked: "ghcr.io/x/y", Registry: "ghcr.io", Repository: "x/y", Digest: "sha256:" + strings.Repeat("a", 64),
		}},
		"all tags":               {policy.Named("ghcr.io/x/y", "", true), policy.Image{Asked: "ghcr.io/x/y", Registry: "ghcr.io", Repository: "x/y"}},
		"no name":                {policy.Named("UPPER", "", true), policy.Image{Asked: "UPPER", Personal: true}},
		"a shared image":         {policy.Local("busybox", uid, []string{"busybox:latest"}), policy.Image{Asked: "busybox", Registry: "docker.io", Repository: "library/busybox", Tag: "latest"}},
		"one's own of that name": {policy.Local("busybox", uid, []string{"busybox:latest", "ds01-1001/busybox:latest"}), policy.Image{Asked: "busybox", Repository: "busybox", Personal: true}},
		"an id of a shared one":  {policy.Local("sha256:1234", uid, []string{"ghcr.io/b:1", "ghcr.io/a:1", "ds01-1001/x:1"}), policy.Image{Asked: "sha256:1234", Registry: "ghcr.io", Repository: "a", Tag: "1"}},
		"an id of one's own":     {policy.Local("sha256:1234", uid, []string{"ds01-1001/x:1"}), policy.Image{Asked: "sha256:1234", Repository: "sha256:1234", Personal: true}},
		"one without a name":     {policy.Local("x", uid, nil), policy.Image{Asked: "x", Repository: "x", Personal: true}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`"no"`, `{"message":"m","memory":1073741824}`)
	f.Add(`3`, `{"message":"m","cpus":1e300,"network":"host"}`)
	f.Fuzz(func(t *testing.T, denied, tightened string) {
		v, err := policy.Read(found(denied), found(tightened))
		if err != nil {
			return
		}
		if len(v.Denials) != 1 || v.Denials[0].Message == "" || strings.ContainsAny(v.Denials[0].Message, "\n\x1b") {
			t.Errorf("denied: %+v", v.Denials)
		}
		for _, one := range v.Tightenings {
			if err := one.Check(); err != nil {
				t.Errorf("%s is read as %+v: %v", tightened, one, err)
			}
		}
	})
}
