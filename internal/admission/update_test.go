package admission_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

func reviewUpdate(t *testing.T, body string) (sent string, wish *container.RestartPolicy, err error) {
	t.Helper()
	u, err := admission.DecodeUpdate([]byte(body))
	if err != nil {
		return "", nil, err
	}
	reviewed, wish, err := admission.ReviewUpdate(u, subject(t, admission.UserNS))
	if err != nil {
		return "", nil, err
	}
	return encode(t, reviewed), wish, nil
}

func TestAnUpdateStaysWithinTheLimits(t *testing.T) {
	for name, c := range map[string]struct{ body, sent string }{
		"nothing":                         {`{}`, `{}`},
		"zero leaves everything":          {`{"Memory":0,"MemorySwap":0,"NanoCpus":0,"PidsLimit":null,"CpuShares":0}`, `{}`},
		"less, and swap to suit it":       {`{"Memory":1073741824}`, `{"Memory":1073741824,"MemorySwap":2147483648}`},
		"memory and swap":                 {`{"Memory":1073741824,"MemorySwap":1073741824}`, `{"Memory":1073741824,"MemorySwap":1073741824}`},
		"swap alone":                      {`{"MemorySwap":3221225472}`, `{"MemorySwap":3221225472}`},
		"no limit of swap":                {`{"MemorySwap":-1}`, `{"MemorySwap":3221225472}`},
		"no limit of swap beside memory":  {`{"Memory":1073741824,"MemorySwap":-1}`, `{"Memory":1073741824,"MemorySwap":2147483648}`},
		"no limit of memory":              {`{"Memory":-1}`, `{"Memory":2147483648,"MemorySwap":3221225472}`},
		"no limit of processes":           {`{"PidsLimit":-1}`, `{"PidsLimit":256}`},
		"zero processes are no limit too": {`{"PidsLimit":0}`, `{"PidsLimit":256}`},
		"no limit of processors":          {`{"NanoCpus":-1}`, `{"NanoCpus":2000000000}`},
		"less of all": {
			`{"NanoCpus":1000000000,"PidsLimit":10,"CpuShares":512,"CpusetCpus":"0","MemoryReservation":1048576}`,
			`{"CpuShares":512,"NanoCpus":1000000000,"CpusetCpus":"0","MemoryReservation":1048576,"PidsLimit":10}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			sent, wish, err := reviewUpdate(t, c.body)
			if err != nil || sent != c.sent || wish != nil {
				t.Errorf("sent %s, wish %v, %v", sent, wish, err)
			}
		})
	}
	for name, c := range map[string]struct{ body, says string }{
		"memory":     {`{"Memory":3221225472}`, "3GiB is over your limit of 2GiB (memory: defaults, resource-limits.yaml:3"},
		"swap":       {`{"MemorySwap":4294967296}`, "4GiB is over your limit of 3GiB (memory_swap: "},
		"processors": {`{"NanoCpus":3000000000}`, "--cpus 3 is over your limit of 2 (max_cpus: "},
		"processes":  {`{"PidsLimit":257}`, "257 is over your limit of 256 (pids_limit: "},
	} {
		t.Run("too much: "+name, func(t *testing.T) {
			_, _, err := reviewUpdate(t, c.body)
			wantProblem(t, err, problem.ErrLimit, c.says)
			if !strings.HasPrefix(err.Error(), "Container not updated: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestARestartPolicyIsWishedAndNeverSent(t *testing.T) {
	sent, wish, err := reviewUpdate(t, string(read(t, "testdata/updates/docker-20.10-restart.json")))
	if want := (container.RestartPolicy{Name: "on-failure", MaxRetries: 3}); err != nil || sent != "{}" || wish == nil || *wish != want {
		t.Errorf("sent %s, wish %v, %v", sent, wish, err)
	}
	sent, wish, err = reviewUpdate(t, string(read(t, "testdata/updates/docker-28-memory.json")))
	if err != nil || sent != `{"Memory":67108864,"MemorySwap":1140850688}` || wish != nil {
		t.Errorf("sent %s, wish %v, %v", sent, wish, err)
	}
	for _, u := range []admission.Update{
		admission.ResourceUpdate(1, 0, 0, container.RestartPolicy{}), admission.ResourceUpdate(0, 1, 0, container.RestartPolicy{}),
		admission.ResourceUpdate(0, 0, 1, container.RestartPolicy{}), admission.ResourceUpdate(0, 0, 0, container.RestartPolicy{Name: "no"}),
	} {
		if u.Empty() {
			t.Errorf("%+v changes something", u)
		}
	}
	if !admission.ResourceUpdate(0, 0, 0, container.RestartPolicy{}).Empty() {
		t.Error("nothing changes something")
	}
	for _, body := range []string{`{"RestartPolicy":{"Name":"x"}}`, `{"RestartPolicy":{"Name":"always","MaximumRetryCount":1}}`, ``, `{"memory":1}`, `{"Memory":1,"Memory":1}`, `{"Unknown":1}`, `{} {}`} {
		_, _, err := reviewUpdate(t, body)
		wantProblem(t, err, problem.ErrInvalid, "")
	}
}

func TestEachFieldOfAnUpdateIsReviewedOrRefused(t *testing.T) {
	for field := range reflect.TypeFor[admission.Update]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !mayNotBeSet(field.Type) {
			if updatable()[name] == "" {
				t.Errorf("%s is taken from clients: review it, and say how", name)
			}
			continue
		}
		for _, value := range []string{`["x"]`, `{"x":"y"}`, `1`, `true`, `"x"`} {
			_, _, err := reviewUpdate(t, fmt.Sprintf(`{%q:%s}`, name, value))
			if !errors.Is(err, problem.ErrDenied) {
				t.Errorf("%s: %s: %v", name, value, err)
			}
		}
		if sent, _, err := reviewUpdate(t, fmt.Sprintf(`{%q:null}`, name)); err != nil || sent != "{}" {
			t.Errorf("%s asks for nothing: %s, %v", name, sent, err)
		}
	}
	if n := reflect.TypeFor[admission.Update]().NumField(); n != len(updatable())+len(admission.UpdateRefusals()) {
		t.Errorf("%d fields, %d are taken and %d refused", n, len(updatable()), len(admission.UpdateRefusals()))
	}
}

// updatable says of every field that an update may set what becomes of it.
func updatable() map[string]string {
	const within = "kept within the limits; −1 becomes the limit"
	return map[string]string{
		"Memory": within, "MemorySwap": within + "; set to suit Memory where only that is given", "NanoCpus": within, "PidsLimit": within + ", and so does 0",
		"MemoryReservation": "goes on; not above the limit of memory", "CpuShares": "goes on; 1024 at most", "CpusetCpus": "goes on",
		"RestartPolicy": "followed by ds01 and not sent; see below",
	}
}
