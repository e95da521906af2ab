package api_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

func TestADrainedCardIsNotGrantedAndEverybodyIsToldWhy(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	var card apitype.Card
	l.must(t, admin, "POST", "/v1/gpus/0/drain", `{"reason": "a fan"}`, &card)
	if !card.Drained || card.Reason != "a fan" || card.By != "root2" || card.Since == nil || len(card.Holders) != 1 || card.Holders[0] != "alice (web) on 0" {
		t.Errorf("got %+v", card)
	}
	const why = "drained: a fan (by root2)"
	var gpus []apitype.GPU
	l.must(t, bob, "GET", "/v1/gpus", "", &gpus)
	if len(gpus) != 1 || gpus[0].Problem != why || !strings.Contains(gpus[0].Next, "gpu undrain 0") || gpus[0].Holder == nil {
		t.Errorf("the list: %+v", gpus)
	}
	var mine []apitype.Container
	l.must(t, alice, "GET", "/v1/containers", "", &mine)
	if len(mine) != 1 || mine[0].GPUs[0].Problem != why {
		t.Errorf("its holder sees %+v", mine)
	}
	l.must(t, alice, "DELETE", "/v1/containers/web?force=true", "", nil)
	wantKind(t, l.ask(t, bob, "POST", "/v1/containers", `{"name": "b", "gpus": 1}`, nil), problem.ErrExhausted)
	var answer apitype.GPUWhy
	l.must(t, bob, "GET", "/v1/gpus/why", "", &answer)
	if answer.Granted || len(answer.Notes) != 1 || answer.Notes[0] != "GPU 0 isn't granted to anybody: "+why+"." {
		t.Errorf("why: %+v", answer)
	}
	if l.must(t, admin, "GET", "/v1/gpus/why", "", &answer); !strings.HasSuffix(answer.Notes[0], "'ds01 gpu undrain 0' ends that.") {
		t.Errorf("why, for an administrator: %q", answer.Notes)
	}
	var doctor apitype.Doctor
	l.must(t, admin, "GET", "/v1/doctor", "", &doctor)
	for _, c := range doctor.Checks {
		if c.Name == "gpus" && (c.Result != apitype.CheckWarn || !strings.Contains(c.Detail, why) || !strings.Contains(c.Next, "gpu undrain 0")) {
			t.Errorf("doctor: %+v", c)
		}
	}

	card = apitype.Card{}
	if l.must(t, admin, "DELETE", "/v1/gpus/GPU-0/drain", "", &card); card.Drained || card.By != "" {
		t.Errorf("undrained: %+v", card)
	}
	wantKind(t, l.ask(t, admin, "DELETE", "/v1/gpus/0/drain", "", nil), problem.ErrConflict)
	wantKind(t, l.ask(t, admin, "POST", "/v1/gpus/7/drain", "{}", nil), problem.ErrNotFound)
	l.must(t, bob, "POST", "/v1/containers", `{"name": "b", "gpus": 1}`, nil)
}

func TestADeviceThatSomebodyUsesWithoutAClaimIsNotGranted(t *testing.T) {
	l := newLab(t)
	l.readings = map[string]gpu.Reading{"GPU-0": {Processes: []gpu.Process{{PID: 4711, MemoryBytes: 5}}}}
	l.warden.Look(t.Context())
	const who = "process 4711 (python3) of mallory"
	var gpus []apitype.GPU
	l.must(t, bob, "GET", "/v1/gpus", "", &gpus)
	if len(gpus) != 1 || gpus[0].Holder != nil || len(gpus[0].Strangers) != 1 || gpus[0].Strangers[0] != (apitype.Process{PID: 4711, User: "mallory", Command: "python3", MemoryBytes: 5}) {
		t.Errorf("the list: %+v", gpus)
	}
	wantKind(t, l.ask(t, bob, "POST", "/v1/containers", `{"name": "b", "gpus": 1}`, nil), problem.ErrExhausted)
	var why apitype.GPUWhy
	if l.must(t, bob, "GET", "/v1/gpus/why", "", &why); why.Granted || len(why.Notes) != 1 || !strings.Contains(why.Notes[0], who) {
		t.Errorf("why: %+v", why)
	}
	var doctor apitype.Doctor
	l.must(t, bob, "GET", "/v1/doctor", "", &doctor)
	for _, c := range doctor.Checks {
		if c.Name == "gpus" && (c.Result != apitype.CheckWarn || !strings.Contains(c.Detail, who) || !strings.HasPrefix(c.Detail, "0 of 1")) {
			t.Errorf("doctor: %+v", c)
		}
	}
	l.readings = nil
	l.warden.Look(t.Context())
	l.must(t, bob, "POST", "/v1/containers", `{"name": "b", "gpus": 1}`, nil)
}
