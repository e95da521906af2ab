package api_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

func TestWhy(t *testing.T) {
	l := newLab(t)
	ask := func(uid int, query string) (w apitype.GPUWhy) {
		t.Helper()
		l.must(t, uid, "GET", "/v1/gpus/why"+query, "", &w)
		return w
	}
	w := ask(alice, "")
	if !w.Granted || w.Asked != "1" || w.User != "alice" || len(w.Devices) != 1 || w.Devices[0].Slot != "0" || w.Refusal != nil {
		t.Errorf("free: %+v", w)
	}
	if len(w.Kinds) != 1 || w.Kinds[0].Profile != "full" || w.Kinds[0].Free != 1 || w.Kinds[0].Most != 1 || w.Kinds[0].ShareText != "1" {
		t.Errorf("kinds: %+v", w.Kinds)
	}
	if len(w.Limits) != 5 || len(w.Usage) != 2 {
		t.Errorf("limits: %+v, %+v", w.Limits, w.Usage)
	}
	if len(l.ledger.Records()) != 0 {
		t.Error("asking claims")
	}
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	if w = ask(bob, "?gpus=full"); w.Granted || w.Refusal == nil || w.Refusal.Code != "NO_GPU_AVAILABLE" || w.Kinds[0].Most != 0 || w.Kinds[0].Refusal == nil {
		t.Errorf("held by alice: %+v", w)
	}
	if w = ask(bob, "?gpus=2g.20gb"); w.Refusal == nil || w.Refusal.Code != "NO_SUCH_DEVICE" {
		t.Errorf("not here: %+v", w)
	}
	if w = ask(alice, "?gpus=2"); w.Refusal == nil || !strings.Contains(w.Refusal.Detail, "limits.yaml:") {
		t.Errorf("over a limit: %+v", w.Refusal)
	}
	wantKind(t, l.ask(t, alice, "GET", "/v1/gpus/why?gpus=nonsense", "", nil), problem.ErrInvalid)
	wantKind(t, l.ask(t, alice, "GET", "/v1/gpus/why?gpus=1&name=web", "", nil), problem.ErrInvalid)
}

func TestWhyAContainerHoldsItsGPU(t *testing.T) {
	l := newLab(t)
	about := func(uid int) (w apitype.GPUWhy) {
		t.Helper()
		l.must(t, uid, "GET", "/v1/gpus/why?name=web", "", &w)
		return w
	}
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	if w := about(alice); !w.Granted || !strings.Contains(w.Reason, "never started") || w.Until == nil || len(w.Devices) != 1 {
		t.Errorf("created: %+v", w)
	}
	l.must(t, alice, "POST", "/v1/containers/web/start", "", nil)
	if w := about(alice); !strings.Contains(w.Reason, "it runs") || w.Until != nil {
		t.Errorf("running: %+v", w)
	}
	l.must(t, alice, "POST", "/v1/containers/web/stop", `{"timeout_seconds":1}`, nil)
	if w := about(alice); !strings.Contains(w.Reason, "gpu_hold_after_stop (") || w.Until == nil {
		t.Errorf("stopped: %+v", w)
	}
	for _, name := range []string{"web", "web._.71001"} {
		wantKind(t, l.ask(t, bob, "GET", "/v1/gpus/why?name="+name, "", nil), problem.ErrNotFound)
	}
}
