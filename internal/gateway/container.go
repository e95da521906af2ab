package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/problem"
)

// create makes a container through the launcher.
func (c *call) create() error {
	data, err := c.body()
	if err != nil {
		return err
	}
	body, err := admission.DecodeCreate(data)
	if err != nil {
		return err
	}
	if name := c.match.Query.Get("name"); name != "" {
		return c.createAs(name, body)
	}
	for attempt := 0; ; attempt++ {
		// Somebody who makes several at once may be given one name twice.
		err := c.createAs(c.freeName(), body)
		if p, ok := errors.AsType[*problem.Error](err); !ok || p.Code != allocator.NameTaken || attempt == maxNames {
			return err
		}
	}
}

// maxNames is how many names are tried for a container whose maker gave none.
const maxNames = 10

func (c *call) createAs(name string, body admission.Create) error {
	if !account.ValidContainerName(name) {
		return &problem.Error{
			What: fmt.Sprintf("Container %q not created", name),
			Why:  problem.Because(problem.ErrInvalid, "a name has letters, digits, '_', '.' and '-', begins with a letter or digit, and doesn't hold '._.'"),
			Next: "Choose another name.",
		}
	}
	c.noteCreate(name, body)
	want := launcher.Request{
		Account: c.who, Roles: c.roles, Name: name, Interface: label.InterfaceOf(body.Labels, label.ClientOf(c.r.UserAgent())), Origin: c.origin(),
		Platform: c.match.Query.Get("platform"), Body: body, Subpaths: minor(c.API()) >= 45,
	}
	record, warnings, err := c.Launcher.Create(c.r.Context(), want)
	if err != nil {
		if err = c.Launcher.AwaitTurn(c.r.Context(), want, c.gpuWait(), err); err == nil {
			record, warnings, err = c.Launcher.Create(c.r.Context(), want)
		}
	}
	if err != nil {
		return err
	}
	if warnings == nil {
		warnings = []string{}
	}
	return c.json(http.StatusCreated, map[string]any{"Id": record.ContainerID, "Warnings": warnings})
}

// freeName returns a name that none of the caller's containers has.
func (c *call) freeName() string {
	for attempt := 0; ; attempt++ {
		name := randomName(attempt)
		if _, err := c.Ledger.Find(c.who.UID, name); err != nil {
			return name
		}
	}
}

func (c *call) start() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	if n, _ := io.Copy(io.Discard, io.LimitReader(c.r.Body, 8)); n > 2 {
		return &problem.Error{What: "Container not started", Why: problem.Because(problem.ErrInvalid, "a start takes no configuration"), Next: "Give options when the container is created."}
	}
	start := c.Launcher.Start
	if c.roles.Admin {
		start = c.Launcher.StartAsIs
	}
	return c.inTurn(record, func() error { return start(c.r.Context(), record.ID) })
}

// inTurn starts a container, and waits before for devices that it gave back
// and that others hold now.
func (c *call) inTurn(record container.Record, start func() error) error {
	waited := c.Launcher.AwaitStart(c.r.Context(), record.ID, c.gpuWait())
	if c.r.Context().Err() != nil {
		return waited // the client went while it waited
	}
	err := start()
	if waited != nil && allocator.Waitable(err) {
		err = waited
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// gpuWait returns how long a request waits for devices.
func (c *call) gpuWait() time.Duration {
	if c.GPUWait == nil {
		return 0
	}
	return c.GPUWait()
}

// stop keeps the client's timeout within the owner's stop_timeout.
func (c *call) stop() error {
	record, err := c.own()
	if err == nil {
		_, err = c.stopTimeout(record.Interface)
	}
	if err != nil {
		return err
	}
	return c.end()
}

func (c *call) restart() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	timeout, err := c.stopTimeout(record.Interface)
	if err != nil {
		return err
	}
	return c.inTurn(record, func() error { return c.Launcher.Restart(c.r.Context(), record.ID, timeout) })
}

// stopTimeout reads the query's t and clamps it; without one the container's
// own timeout holds, which create has clamped. It is negative then.
func (c *call) stopTimeout(kind string) (time.Duration, error) {
	text := c.match.Query.Get("t")
	if text == "" {
		return -1, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < -1 || seconds > 1<<30 {
		return 0, &problem.Error{What: "Container not stopped", Why: problem.Because(problem.ErrInvalid, fmt.Sprintf("timeout %q is no number of seconds", text))}
	}
	t := time.Duration(seconds) * time.Second
	if limit := c.StopGrace(c.who, kind); limit >= 0 && (t < 0 || t > limit) {
		t = limit
	}
	c.match.Query.Set("t", strconv.Itoa(int(t/time.Second)))
	return t, nil
}

// wait answers when the container has ended, after its claim is in step: who
// waits for a removal can count on what it held.
func (c *call) wait() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	resp, err := c.ask(c.r.Context(), http.MethodPost, c.path(record.ContainerID), c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	if resp.StatusCode != http.StatusOK {
		return c.relay(resp)
	}
	c.head(resp)
	_ = http.NewResponseController(c.w).Flush() // clients start the container once the head is here
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // nobody knows how it ended
	}
	c.ended(record, data)
	_, _ = c.w.Write(data) // a client that went needs no answer
	return errAnswered
}

// ended brings the record in step with the engine's answer to a wait. One that
// tells of a removal leaves nothing to look at.
func (c *call) ended(record container.Record, answer []byte) {
	ctx := context.WithoutCancel(c.r.Context())
	var told struct{ Error *struct{} }
	if c.match.Query.Get("condition") != "removed" || json.Unmarshal(answer, &told) != nil || told.Error != nil {
		c.observe(ctx, record)
		return
	}
	defer c.Ledger.Lock(record.ID)()
	if _, left := c.Ledger.Record(record.ID); !left {
		return // the event of its end came first
	}
	err := c.Launcher.Cleanup(ctx, record)
	if err == nil {
		err = c.Ledger.Forget(ctx, record.ID)
	}
	c.Recorder.Daemon(event.Event{
		Action: "forget", Why: "its container was removed when it ended", Object: record.Name, Container: record.ContainerID, Claim: record.ID,
		Owner: record.Login, OwnerUID: &record.UID,
	})
	if err != nil { // the event of its end tries again
		c.Log.WarnContext(ctx, "record of a removed container not forgotten", "container", record.ContainerID, "error", err)
	}
}

func (c *call) top() error {
	if err := admission.CheckPsArguments(c.match.Query.Get("ps_args")); err != nil {
		return err
	}
	return c.stream()
}

// execCreate reviews a command before the engine prepares it.
func (c *call) execCreate() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	data, err := c.body()
	if err != nil {
		return err
	}
	c.noteExec(data)
	owner := c.who
	if record.UID != owner.UID {
		if owner, err = c.Accounts.Lookup(record.UID); err != nil {
			return err
		}
	}
	isolation := c.Isolation()
	if record.Plain() {
		isolation = admission.UID
	}
	body, err := admission.ReviewExec(data, owner, isolation, container.AnyFiles(record.Mounts))
	if err != nil {
		return err
	}
	encoded, err := admission.Encode(body)
	if err != nil {
		return err
	}
	c.awaitCopies(record)
	answer, err := c.fetch(context.WithoutCancel(c.r.Context()), http.MethodPost, c.path(record.ContainerID), url.Values{}, encoded)
	if err != nil {
		return err
	}
	var made struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(answer, &made); err == nil { // else its start asks the engine
		c.execs.put(made.ID, prepared{record.ContainerID, body.Tty})
	}
	return c.raw(http.StatusCreated, answer)
}

// ownExec returns the caller's container in which the exec in the route runs, and
// whether the exec has a terminal.
func (c *call) ownExec() (record container.Record, terminal bool, err error) {
	exec, known := c.execs.of(c.match.Param)
	if !known {
		data, err := c.fetch(c.r.Context(), http.MethodGet, "/exec/"+c.match.Param+"/json", nil, nil)
		if err != nil {
			return record, false, err
		}
		if exec, err = execOf(data); err != nil {
			return record, false, err
		}
	}
	record, ok := c.Ledger.ByContainer(exec.container)
	c.note(record)
	if !ok || record.UID != c.who.UID && !c.roles.Admin {
		return record, false, &problem.Error{What: "No such exec instance: " + c.match.Param, Why: problem.Because(problem.ErrNotFound, "none of your containers has it")}
	}
	return record, exec.terminal, nil
}

// execPass answers inspect and resize of the caller's own exec.
func (c *call) execPass() error {
	if _, _, err := c.ownExec(); err != nil {
		return err
	}
	resp, err := c.ask(c.r.Context(), c.match.Method, c.path(c.match.Param), c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	return c.relay(resp)
}
