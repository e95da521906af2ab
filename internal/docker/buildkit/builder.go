// Package buildkit builds images by the engine's own BuildKit, for one person
// at a time. It keeps people's sessions apart, reads their Dockerfiles itself,
// polices every operation of a build before the engine hears of it, and sends
// nothing that a client wrote.
package buildkit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// A Builder builds on one engine. It is safe for concurrent use.
type Builder struct {
	dial func(ctx context.Context) (net.Conn, error)
	now  func() time.Time
	log  *slog.Logger

	makers makers

	mu       sync.Mutex
	sessions map[int]*sessions // by uid
}

// New returns a builder on the engine that dial connects to. What its cache has
// of whom it keeps in records.
func New(dial func(ctx context.Context) (net.Conn, error), now func() time.Time, records Records, log *slog.Logger) *Builder {
	return &Builder{dial: dial, now: now, log: log, makers: makers{records: records}, sessions: map[int]*sessions{}}
}

// product is what ds01 calls itself towards BuildKit.
const product = "ds01"

// A build is one that is under way.
type build struct {
	admission.KitBuild
	session string         // ds01's own, by which the engine gets the person's files
	person  session.Caller // the client

	telling sync.Mutex // one trace at a time: whoever listens may keep it waiting
	tell    func(trace []byte)
	now     func() time.Time
	log     *slog.Logger

	mu      sync.Mutex
	refusal error // why ds01 has stopped it
	noted   []string

	judged judged
}

// Build does one build and tells of its steps, each time with a StatusResponse
// of BuildKit's control API. The image is kept at the engine under its mark.
// Unless answered the engine may make one yet, though the build has failed.
func (b *Builder) Build(ctx context.Context, order admission.KitBuild, tell func(trace []byte)) (answered bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	person, release, err := b.person(ctx, order.UID, order.Session)
	if err != nil {
		return true, err
	}
	defer release()
	context.AfterFunc(person.Context(), func() { cancel(errClientGone) }) //nolint:contextcheck // the session's, whose end is the build's
	run := &build{KitBuild: order, tell: tell, now: b.now, log: b.log}
	err = b.solve(ctx, run, person)
	switch cause := context.Cause(ctx); {
	case err == nil:
		return true, nil
	case run.refused() != nil:
		return cause == nil, run.refused()
	case cause != nil:
		return false, cause
	}
	return true, run.explain(err)
}

var errClientGone = &problem.Error{
	What: notBuilt, Why: problem.Because(problem.ErrInvalid, "the client has ended its session"), Next: "Build again, and leave the client running.",
}

const notBuilt = "Image not built"

// solve runs the build at the engine beside a session of its own, which hands
// on what BuildKit asks the person's for.
func (b *Builder) solve(ctx context.Context, run *build, person session.Caller) error {
	engine, err := b.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close() //nolint:errcheck // everything was said
	made, err := b.beginMaking(ctx, engine, run.UID)
	if err != nil {
		return err
	}
	defer b.endMaking(context.WithoutCancel(ctx), engine, made)
	// What the engine keeps of people's files it finds by this key.
	key := fmt.Sprintf("ds01-%d-%s", run.UID, person.SharedKey())
	ours, err := session.NewSession(ctx, key)
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	run.session, run.person = ours.ID(), person
	ctx, cancel := context.WithCancelCause(ctx)
	var group errgroup.Group
	group.Go(func() error {
		return guard(b.log, func() error { return b.lend(ctx, ours.ID(), key, person, run.UID) })
	})
	group.Go(func() error { return guard(b.log, func() error { return run.watch(ctx, cancel) }) })
	err = run.at(ctx, engine, ours)
	cancel(nil)
	return errors.Join(err, ours.Close(), ignoreCancelled(group.Wait()))
}

func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// at asks the engine for the build and tells of it until it is over.
func (r *build) at(ctx context.Context, engine *client.Client, ours *session.Session) error {
	statuses := make(chan *client.SolveStatus)
	var telling sync.WaitGroup
	telling.Go(func() {
		for s := range statuses {
			_ = guard(r.log, func() error { r.status(s); return nil }) // the next may be told
		}
	})
	defer telling.Wait()
	for _, text := range r.Notes {
		r.note(text)
	}
	_, err := engine.Build(ctx, client.SolveOpt{
		Exports: []client.ExportEntry{r.export()}, FrontendAttrs: r.Attributes,
		SharedSession: ours, SessionPreInitialized: true,
	}, product, r.read, statuses)
	return err
}

// read reads the Dockerfile and has the engine build by it.
func (r *build) read(ctx context.Context, engine gateway.Client) (result *gateway.Result, err error) {
	err = guard(r.log, func() error {
		result, err = (&frontend{Client: engine, build: r}).run(ctx)
		return err
	})
	return result, err
}

// export is what becomes of the result: an image of the engine's, under its
// mark, or files that the engine hands to the session, and so to the client.
func (r *build) export() client.ExportEntry {
	if r.Output == admission.KitImage {
		return client.ExportEntry{Type: "moby", Attrs: map[string]string{"name": r.Mark}}
	}
	return client.ExportEntry{Type: string(r.Output)}
}

// lookEvery is the time between two looks at the disk.
const lookEvery = time.Second

// watch ends the build when the disk has too little room.
func (r *build) watch(ctx context.Context, cancel context.CancelCauseFunc) error {
	for t := time.NewTicker(lookEvery); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
			if err := r.Room(); err != nil {
				cancel(r.refuse(err))
			}
		}
	}
}

// refuse keeps the first reason for which ds01 stops a build; what BuildKit
// makes of it is none for people.
func (r *build) refuse(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal == nil {
		r.refusal = err
	}
	return err
}

func (r *build) refused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusal
}

// explain turns BuildKit's error into one for people.
func (r *build) explain(err error) error {
	text := err.Error()
	if admission.KitStepMissing(text) {
		return &problem.Error{
			What: notBuilt, Why: problem.Because(problem.ErrUnavailable, "this host's engine would run the steps of the build outside your limits"),
			Next: "Build with DOCKER_BUILDKIT=0; administrators: docs/admins/builds.md says what to install.",
		}
	}
	for _, around := range []string{"failed to solve: ", "rpc error: code = Unknown desc = "} {
		text = strings.ReplaceAll(text, around, "")
	}
	return errors.New(r.shown(text))
}

// shown puts what people call things in the place of ds01's names for them.
func (r *build) shown(text string) string {
	group, _ := r.place()
	return r.Show(admission.KitShown(text, group))
}

// status tells of what the engine did.
func (r *build) status(s *client.SolveStatus) {
	for _, v := range s.Vertexes {
		v.Name, v.Error = r.shown(v.Name), r.shown(v.Error)
	}
	for _, v := range s.Statuses {
		v.ID, v.Name = r.shown(v.ID), r.shown(v.Name)
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	for _, message := range s.Marshal() {
		if data, err := proto.Marshal(message); err == nil {
			r.tell(data)
		}
	}
}

// note tells of something once, as a step that took no time.
func (r *build) note(text string) {
	r.mu.Lock()
	told := slices.Contains(r.noted, text)
	r.noted = append(r.noted, text)
	r.mu.Unlock()
	if told {
		return
	}
	now := r.now()
	r.status(&client.SolveStatus{Vertexes: []*client.Vertex{{
		Digest: digest.FromString(text), Name: "[ds01] " + text, Started: &now, Completed: &now,
	}}})
}

// upgrade opens a connection of the engine's that speaks HTTP/2 from then on.
func (b *Builder) upgrade(ctx context.Context, path string, meta map[string][]string) (net.Conn, error) {
	conn, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, nil)
	if err == nil {
		req.Host, req.Header = "docker", http.Header(meta).Clone()
		if req.Header == nil {
			req.Header = http.Header{}
		}
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "h2c")
		err = req.Write(conn)
	}
	var resp *http.Response
	reader := bufio.NewReader(conn)
	if err == nil {
		resp, err = http.ReadResponse(reader, req) //nolint:bodyclose // the connection is its body
	}
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New("the engine answered " + resp.Status)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s at the engine: %w", path, err), conn.Close())
	}
	return buffered{conn, reader}, nil
}

// buffered is a connection of which something may have been read already.
type buffered struct {
	net.Conn
	reader *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.reader.Read(p) }
