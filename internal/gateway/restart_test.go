package gateway_test

import (
	"fmt"
	"testing"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

func TestUpdate(t *testing.T) {
	l := newLab(t)
	id := l.create(t, alice)
	const target = "/v1.41/containers/web/update"
	got := decode[struct{ Warnings []string }](t, l.ask(t, alice, "POST", target, `{"Memory":67108864,"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":2}}`))
	if got.Warnings == nil {
		t.Error("the list of warnings is null")
	}
	if memory := l.engine.HostConfig(id, "Memory"); memory != float64(64<<20) {
		t.Errorf("memory %v", memory)
	}
	if wish := l.recordOf(t, id).Restart.Policy; wish != (container.RestartPolicy{Name: "on-failure", MaxRetries: 2}) {
		t.Errorf("wish %+v", wish)
	}
	wantRefusal(t, l.ask(t, alice, "POST", target, `{"Memory":2147483648}`), 429, "Container not updated: --memory 2GiB is over your limit of 1GiB")
	wantRefusal(t, l.ask(t, alice, "POST", target, `{"BlkioWeight":500}`), 403, "BlkioWeight can't be changed")
	wantRefusal(t, l.ask(t, alice, "POST", target, `{"memory":1}`), 400, "memory")
	wantRefusal(t, l.ask(t, alice, "POST", target, ``), 400, "no body")
	wantRefusal(t, l.ask(t, alice, "POST", target, `{"Memory":1000}`), 400, "Minimum memory")
	wantRefusal(t, l.ask(t, bob, "POST", "/v1.41/containers/"+id+"/update", `{"Memory":67108864}`), 404, "No such container")
	decode[struct{ Warnings []string }](t, l.ask(t, admin, "POST", "/v1.41/containers/"+id+"/update", `{"PidsLimit":5}`))
	wantRefusal(t, l.ask(t, admin, "POST", "/v1.41/containers/"+id+"/update", `{"PidsLimit":500}`), 429, "over your limit of 100")
}

// What ends a container on purpose is noted before the engine is asked.
func TestWhatEndsAContainerIsNoted(t *testing.T) {
	for request, stopped := range map[string]bool{
		"POST /stop": true, "POST /stop?t=5": true, "POST /kill": true, "POST /kill?signal=KILL": true, "POST /kill?signal=15": true,
		"POST /kill?signal=SIGHUP": false, "POST /kill?signal=USR1": false, "POST /resize?h=1&w=1": false,
		"DELETE ?force=1": true, "DELETE ?force=TRUE": true, "DELETE ": false, "DELETE ?force=0": false, "DELETE ?v=1": false,
	} {
		t.Run(request, func(t *testing.T) {
			l := newLab(t)
			id := l.create(t, alice)
			var method, rest string
			fmt.Sscan(request, &method, &rest)
			l.ask(t, alice, method, "/v1.41/containers/web"+rest, "")
			if got := l.recordOf(t, id).Restart.Stopped; got != stopped {
				t.Errorf("noted: %t; asked %s", got, l.engine.last())
			}
			wantRefusal(t, l.ask(t, bob, method, "/v1.41/containers/"+id+rest, ""), 404, "")
		})
	}
}

func TestInspectShowsWhatIsWished(t *testing.T) {
	type state struct {
		Status              string
		Running, Restarting bool
		Pid                 int
	}
	type shown struct {
		RestartCount int
		State        state
		HostConfig   struct {
			RestartPolicy struct {
				Name              string
				MaximumRetryCount *int
			}
			Memory int
		}
	}
	l := newLab(t)
	id := l.create(t, alice)
	l.engine.answers["GET /containers/"+id+"/json"] = `{"Id":"` + id + `","RestartCount":0,"Config":{},"Mounts":[],` +
		`"State":{"Status":"exited","Running":false,"Restarting":false,"Pid":0},"HostConfig":{"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"Memory":5}}`
	look := func(uid int) shown {
		return decode[shown](t, l.ask(t, uid, "GET", "/v1.41/containers/"+id+"/json", ""))
	}
	got := look(alice)
	if p := got.HostConfig.RestartPolicy; p.Name != "no" || p.MaximumRetryCount == nil || got.HostConfig.Memory != 5 || got.State != (state{Status: "exited"}) {
		t.Errorf("without a wish: %+v", got)
	}
	err := l.ledger.Update(t.Context(), l.recordOf(t, id).ID, func(c *container.Record) {
		c.State = gpu.Held
		c.Restart = container.Restart{Policy: container.RestartPolicy{Name: "on-failure", MaxRetries: 9}, Count: 4, Due: time.Now()}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []int{alice, admin} {
		got = look(uid)
		if p := got.HostConfig.RestartPolicy; p.Name != "on-failure" || *p.MaximumRetryCount != 9 || got.RestartCount != 4 ||
			got.State != (state{Status: "restarting", Running: true, Restarting: true}) {
			t.Errorf("%+v", got)
		}
	}
}
