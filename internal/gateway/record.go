package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

// recorded serves the call and writes down what becomes of it. What changes
// something is written before the engine hears of it: see announced.
func (c *call) recorded(ctx context.Context, serve func(*call) error) error {
	if !c.match.Changes() {
		return c.looked(serve(c))
	}
	entry := c.newEntry()
	ctx, err := entry.Begin(ctx)
	if err != nil {
		return err
	}
	c.r = c.r.WithContext(ctx)
	w := &witness{ResponseWriter: c.w}
	c.w = w
	defer func() {
		if broken := recover(); broken != nil {
			entry.Finish(errors.New("the answer broke off"), w.status)
			panic(broken)
		}
	}()
	err = serve(c)
	switch {
	case err != nil && !errors.Is(err, errAnswered):
		entry.Finish(err, problem.HTTPStatus(err))
	case w.status >= http.StatusBadRequest:
		entry.Finish(recorder.Refused(w.status, w.said()), w.status)
	default:
		entry.Finish(nil, w.status)
	}
	return err
}

// looked writes down what keeps the caller from a look.
func (c *call) looked(err error) error {
	if err != nil && !errors.Is(err, errAnswered) {
		c.newEntry().Finish(err, problem.HTTPStatus(err))
	}
	return err
}

// newEntry returns the entry of the call, with what is known of it so far.
func (c *call) newEntry() *recorder.Entry {
	e := event.Event{
		Door: event.Gateway, Action: string(c.match.Op), Route: c.match.Method + " " + c.match.Pattern, Object: c.match.Param,
		UID: c.peer.UID, GID: c.peer.GID, PID: c.peer.PID, User: c.who.Name, Through: c.peer.Through,
	}
	changes := c.match.Changes()
	switch c.match.Op {
	case "": // it has no route
		e.Action, e.Route = "docker api", c.r.Method+" "+c.r.URL.Path
		changes = admission.ChangesBy(c.r.Method)
	case admission.ContainerCreate:
		e.Object = c.match.Query.Get("name")
	case admission.ImageCreate:
		e.Action, e.Object = "image import", event.Reference(c.match.Query.Get("repo"))
		if from := c.match.Query.Get("fromImage"); from != "" {
			e.Action, e.Object = "image pull", event.Reference(from)
		}
	default:
	}
	if c.peer == (peer.Peer{}) {
		e.UID, e.GID = -1, -1 // the kernel didn't say
	}
	if c.foreign != nil {
		describe(&e, *c.foreign, c.who.UID)
	}
	return c.Recorder.Entry(e, changes, c.hints)
}

func (c *call) hints(e *event.Event) {
	h := c.peer.Hints()
	e.Exe, e.LoginUID, e.Origin = h.Exe, h.LoginUID, c.origin()
}

// origin tells where the request came from: through a container, where that
// did.
func (c *call) origin() string {
	if c.peer.Through != "" {
		speaker, _ := c.Ledger.ByContainer(c.peer.Through) // gone: unknown
		return speaker.Origin
	}
	return c.Origins.Of(c.peer)
}

// describe says which container a request is about, and whose it is where it
// isn't the user's own.
func describe(e *event.Event, r container.Record, user int) {
	e.Object, e.Container, e.Claim = r.Name, r.ContainerID, r.ID
	if r.UID != user {
		e.Owner, e.OwnerUID = r.Login, &r.UID
	}
}

// note adds the container that the request is about.
func (c *call) note(r container.Record) {
	if r.ID == "" && c.foreign != nil {
		r = *c.foreign
	}
	if r.ID == "" {
		return
	}
	if r.UID != c.who.UID {
		other := r
		c.foreign = &other
	}
	recorder.Note(c.r.Context(), func(e *event.Event) { describe(e, r, c.who.UID) })
}

// noteCreate adds what a container is to be like. Its environment stays out,
// and of its command all but the first word.
func (c *call) noteCreate(name string, body admission.Create) {
	command := append(append([]string{}, body.Entrypoint...), body.Cmd...)
	var mounts []string
	gpus := ""
	if ask, err := body.Ask(); err == nil {
		for _, m := range ask.Mounts {
			mounts = append(mounts, m.Source)
		}
		if ask.GPU != nil {
			gpus = ask.GPU.String()
		}
	}
	recorder.Hide(c.r.Context(), secrets(body.Env, command))
	recorder.Note(c.r.Context(), func(e *event.Event) {
		e.Object, e.Image, e.Command, e.Mounts, e.GPUs = name, event.Reference(body.Image), event.FirstWord(command), mounts, gpus
	})
}

// noteExec adds the first word of a command that is to run in a container.
func (c *call) noteExec(body []byte) {
	var asked struct {
		Cmd admission.Words
		Env []string
	}
	if json.Unmarshal(body, &asked) != nil {
		return // it is refused
	}
	recorder.Hide(c.r.Context(), secrets(asked.Env, asked.Cmd))
	recorder.Note(c.r.Context(), func(e *event.Event) { e.Command = event.FirstWord(asked.Cmd) })
}

// secrets returns what of an environment and a command no reason may quote.
func secrets(env, command []string) []string {
	var all []string
	for _, variable := range env {
		if name, value, assigned := strings.Cut(variable, "="); assigned && name != "" {
			variable = value
		}
		all = append(all, variable)
	}
	return append(all, command[min(len(command), 1):]...)
}

// announced is an engine that is asked for changes only after they were
// written down.
type announced struct{ Engine }

// RoundTrip announces requests that aren't only looks.
func (a announced) RoundTrip(r *http.Request) (*http.Response, error) {
	if admission.ChangesBy(r.Method) {
		if err := recorder.Before(r.Context()); err != nil {
			return nil, err
		}
	}
	return a.Engine.RoundTrip(r)
}

// Dial announces a stream.
func (a announced) Dial(ctx context.Context) (net.Conn, error) {
	if err := recorder.Before(ctx); err != nil {
		return nil, err
	}
	return a.Engine.Dial(ctx)
}

// A witness keeps the status of an answer, and the beginning of one that tells
// of an error.
type witness struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// maxSaid is how much of an error is kept, in bytes.
const maxSaid = 4 << 10

// WriteHeader keeps the status.
func (w *witness) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write keeps what an error says.
func (w *witness) Write(data []byte) (int, error) {
	if w.status >= http.StatusBadRequest && w.body.Len() < maxSaid {
		w.body.Write(data[:min(len(data), maxSaid-w.body.Len())])
	}
	return w.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *witness) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// said returns the engine's message.
func (w *witness) said() string {
	var answer struct{ Message string }
	if json.Unmarshal(w.body.Bytes(), &answer) != nil {
		return ""
	}
	return answer.Message
}
