package api

import (
	"cmp"
	"context"
	"net/http"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/problem"
)

// Changes reports whether taking the route changes something: such requests
// are written down when they are allowed too. A route that is new does unless
// it only looks.
func (r Route) Changes() bool {
	return r.Method != http.MethodGet && r.Path != "/v1/limits/diff" && r.Path != "/v1/policy/eval" && r.Path != "/v1/mig/plan"
}

// recorded serves the call and writes down what becomes of it. What changes
// something is written before it is done.
func (c *call) recorded(ctx context.Context, route Route) error {
	err := c.identify(ctx, route.Access)
	c.entry = c.Recorder.Entry(c.event(route), route.Changes(), c.hints)
	if err == nil {
		if ctx, err = c.entry.Begin(ctx); err != nil {
			return err
		}
		c.r = c.r.WithContext(ctx)
		err = route.Handle(c)
	}
	c.entry.Finish(err, problem.HTTPStatus(err))
	return err
}

// event returns what is known of the request so far.
func (c *call) event(route Route) event.Event {
	e := event.Event{
		Door: event.API, Action: route.Method + " " + route.Path, Route: route.Method + " " + route.Path,
		Object: cmp.Or(c.r.PathValue("name"), c.r.PathValue("uuid"), c.r.PathValue("id")),
		UID:    c.peer.UID, GID: c.peer.GID, PID: c.peer.PID, User: c.who.Name,
	}
	if action, ok := actions()[e.Route]; ok {
		e.Action = action
	}
	if c.peer == (peer.Peer{}) {
		e.UID, e.GID = -1, -1 // the kernel didn't say
	}
	if c.owner.UID != c.who.UID {
		e.Owner, e.OwnerUID = c.owner.Name, &c.owner.UID
	}
	return e
}

// actions gives what changes something the name that the gateway uses too.
func actions() map[string]string {
	return map[string]string{
		"POST /v1/containers":                     "container create",
		"POST /v1/containers/{name}/start":        "container start",
		"POST /v1/containers/{name}/stop":         "container stop",
		"DELETE /v1/containers/{name}":            "container remove",
		"POST /v1/containers/{name}/adopt":        "container adopt",
		"POST /v1/gpus/{uuid}/sim":                "gpu sim set",
		"POST /v1/mig/apply":                      "gpu mig apply",
		"POST /v1/doctor/fix":                     "doctor fix",
		"POST /v1/gpus/{uuid}/drain":              "gpu drain",
		"DELETE /v1/gpus/{uuid}/drain":            "gpu undrain",
		"POST /v1/queue":                          "gpu queue join",
		"DELETE /v1/queue/{id}":                   "gpu queue leave",
		"POST /v1/reservations":                   "gpu reserve",
		"DELETE /v1/reservations/{id}":            "gpu unreserve",
		"POST /v1/containers/{name}/gpus/add":     "container gpu add",
		"POST /v1/containers/{name}/gpus/release": "container gpu release",
	}
}

func (c *call) hints(e *event.Event) {
	h := c.peer.Hints()
	e.Exe, e.LoginUID, e.Origin = h.Exe, h.LoginUID, c.Origins.Of(c.peer)
}

// note adds the container that the request is about.
func (c *call) note(r container.Record) {
	c.entry.Note(func(e *event.Event) {
		e.Object, e.Container, e.Claim = r.Name, r.ContainerID, r.ID
		if r.UID != c.who.UID {
			e.Owner, e.OwnerUID = r.Login, &r.UID
		}
	})
}

// noteCreate adds what a container is to be like.
func (c *call) noteCreate(want apitype.CreateContainer) {
	c.entry.Note(func(e *event.Event) {
		e.Object, e.Image = want.Name, event.Reference(want.Image)
		if gpus, err := gpusOf(want.GPUs, want.Wanted); err == nil && gpus != nil {
			e.GPUs = gpus.String()
		}
		for _, dir := range []string{want.Workspace, want.Data, want.Models} {
			if dir != "" {
				e.Mounts = append(e.Mounts, dir)
			}
		}
	})
}
