package admission_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// builder may have a gigabyte for each step.
func builder() admission.Subject {
	return admission.Subject{Limits: limits.Limits{
		Memory: quantity.To[quantity.ByteSize](1 << 30), MemorySwap: quantity.To[quantity.ByteSize](1 << 30),
		MaxCPUs: quantity.To(2 * quantity.OneCPU), ShmSize: quantity.To[quantity.ByteSize](1 << 26),
		Aggregate: limits.Aggregate{CPUs: quantity.None[quantity.CPUs](), Memory: quantity.None[quantity.ByteSize](), Tasks: quantity.None[int64]()},
	}}
}

func TestABuildIsTightenedInWhatTheEngineIsTold(t *testing.T) {
	b, err := admission.ReadBuild(url.Values{"memory": {"900000000"}})
	if err != nil {
		t.Fatal(err)
	}
	all := []admission.Tightening{
		{Rule: "a:1", Message: "m", Memory: 64 << 20, CPUs: quantity.OneCPU / 2, ShmSize: 1 << 20},
		{Rule: "a:2", Message: "m", NoNetwork: true},
	}
	if err := b.CheckTight(builder(), all); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("a build with more than the rules leave goes on: %v", err)
	}
	b, changes, err := b.Tightened(builder(), all)
	if err != nil || len(changes) != 4 {
		t.Fatalf("%+v, %v", changes, err)
	}
	q, err := b.Query(builder(), "/g", b.NetworkMode(admission.Networks{Mode: "one"}))
	if err != nil || q.Get("memory") != "67108864" || q.Get("cpuquota") != "50000" || q.Get("shmsize") != "1048576" || q.Get("networkmode") != "none" {
		t.Errorf("the engine is told %v, %v", q, err)
	}
	if err := b.CheckTight(builder(), all); err != nil {
		t.Error(err)
	}
	if _, changes, err := b.Tightened(builder(), all); err != nil || len(changes) > 0 {
		t.Errorf("what is tight is tightened again: %+v, %v", changes, err)
	}
}

func TestWhatNoStepCanHaveIsRefused(t *testing.T) {
	for name, c := range map[string]admission.Tightening{
		"no_new_privileges": {NoNewPrivileges: true}, "cap_drop": {CapDrop: []string{"NET_RAW"}}, "pids_limit": {Pids: 3},
	} {
		c.Rule, c.Message = "a:1", "m"
		b, err := admission.ReadBuild(url.Values{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Tightened(builder(), []admission.Tightening{c}); !errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
