package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

const notBuilt = "Image not built"

// A building is one classic build on its way: the client's context goes to the
// engine while it comes, with a Dockerfile of ds01's at its end.
type building struct {
	*call
	ask    admission.Build
	login  admission.KitLogin
	query  url.Values // for the engine
	wanted []string   // the engine's names of what is built
	making container.Making
	site   admission.Subject
	told   []string // what the site's policy has taken

	begun bool              // the answer has
	shown []admission.Shown // the engine's steps, as they are told
	err   error             // why the context was cut off
}

// build builds an image of the context that the client sends.
func (c *call) build() error {
	if c.match.Query.Get("version") == "2" {
		return c.kitBuild()
	}
	b := &building{call: c}
	ctx, cancel := c.untilClosing(c.r.Context())
	defer cancel()
	done, err := b.prepare(ctx)
	if err != nil {
		c.drain()
		return err
	}
	defer done()
	return b.run(ctx, cancel)
}

// prepare reads the request but for its body, and begins the making. The build
// counts as under way until done is called.
func (b *building) prepare(ctx context.Context) (done func(), err error) {
	if b.ask, err = admission.ReadBuild(b.match.Query); err != nil {
		return nil, err
	}
	logins, err := admission.ReadLogins(b.r.Header.Get("X-Registry-Config"))
	if err != nil {
		return nil, err
	}
	b.login = func(_ context.Context, host string) (admission.Credentials, error) { return loginAt(logins, host), nil }
	for _, name := range b.ask.Names {
		own, err := curator.OwnName(name, b.who.UID)
		if err != nil {
			return nil, err
		}
		b.wanted = append(b.wanted, own)
	}
	if err := b.room(notBuilt, 0); err != nil {
		return nil, err
	}
	site, done, err := b.Launcher.Build(ctx, b.who, b.ask.Network)
	if err != nil {
		return nil, err
	}
	if b.site = site.Subject; b.Launcher.Judged() {
		err = b.tighten(ctx)
	}
	if err != nil {
		done()
		return nil, err
	}
	if b.query, err = b.ask.Query(site.Subject, site.Group, b.ask.NetworkMode(site.Networks)); err == nil {
		recorder.Note(ctx, func(e *event.Event) { e.Object = event.Reference(first(b.ask.Names)) })
		b.making, err = b.call.making(context.WithoutCancel(ctx), url.Values{}, container.ByBuild, b.wanted)
	}
	if err != nil {
		done()
		return nil, err
	}
	return done, nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// run asks the engine for the build, and ends it with whoever waits for it.
// What was made by then is kept, whoever has gone.
func (b *building) run(ctx context.Context, cancel context.CancelFunc) error {
	lasting := context.WithoutCancel(ctx)
	room := b.watchRoom(ctx, cancel)
	resp, err := b.ship(ctx)
	if err == nil {
		defer resp.Body.Close() //nolint:errcheck // read below
	}
	if b.err != nil {
		_ = room() // why it was cut off counts
		b.drain()
		return b.fail(b.unmade(lasting, b.making, b.err)) //nolint:contextcheck // it is the call's own
	}
	if err == nil {
		err = b.tellSteps(resp)
	}
	if full := room(); full != nil {
		_, err := b.Images.End(lasting, b.making, false)
		return b.fail(errors.Join(full, err)) //nolint:contextcheck // it is the call's own
	}
	images, err := b.made(lasting, b.making, err)
	if err == nil && images[0] != "" && !b.ask.Quiet {
		for _, name := range b.wanted {
			b.say("Successfully tagged " + account.OwnImage(name, b.who.UID))
		}
	}
	return b.fail(err) //nolint:contextcheck // it is the call's own
}

// fail ends the call: by an answer of its own, unless one has begun.
func (b *building) fail(err error) error {
	if b.begun {
		return b.late(err)
	}
	return err
}

// ship sends the context on while it comes, and returns the engine's answer.
func (b *building) ship(ctx context.Context) (*http.Response, error) {
	b.query.Set("t", curator.Mark(b.making, 0))
	b.query.Set("dockerfile", ownDockerfile)
	from, to := io.Pipe()
	over := make(chan struct{})
	go func() {
		defer close(over)
		b.pump(ctx, to)
	}()
	resp, err := b.send(ctx, http.MethodPost, "/build", b.query, from, map[string]string{"Content-Type": "application/x-tar"})
	_ = from.Close() // an engine that answers has read what it wants; it returns nil
	<-over
	return resp, err
}

// pump writes the context for the engine, and cuts the engine off where it
// mustn't go on.
func (b *building) pump(ctx context.Context, to *io.PipeWriter) {
	err := b.guard(ctx, admission.BrokenBuild(), func() error { return b.writeContext(ctx, to) })
	if _, said := errors.AsType[*problem.Error](err); said {
		b.err = err
	}
	_ = to.CloseWithError(err) // it returns nil
}

// lookEach is how often the disk is looked at while steps run.
const lookEach = time.Second

// watchRoom calls cancel once the engine's disk has too little room. stop ends
// that, and tells whether it was so.
func (b *building) watchRoom(ctx context.Context, cancel context.CancelFunc) (stop func() error) {
	ctx, end := context.WithCancel(ctx)
	over := make(chan error, 1)
	go func() {
		tick := time.NewTicker(lookEach)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				over <- nil
				return
			case <-tick.C:
			}
			if err := b.guard(ctx, admission.BrokenBuild(), func() error { return b.room(notBuilt, 0) }); err != nil {
				cancel()
				over <- err
				return
			}
		}
	}()
	return func() error { end(); return <-over }
}
