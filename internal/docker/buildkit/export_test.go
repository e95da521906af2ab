package buildkit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/grpc"

	"ds01.dev/ds01/internal/admission"
)

// Police polices a definition of somebody's build, for whose files the engine
// asks a session.
func Police(ctx context.Context, order admission.KitBuild, session string, d *pb.Definition) (*pb.Definition, error) {
	run := &build{KitBuild: order, session: session, tell: func([]byte) {}, now: time.Now}
	return run.police(ctx, d)
}

// Guarded are the options of servers that clients speak with.
func Guarded() []grpc.ServerOption { return guarded(slog.New(slog.DiscardHandler)) }

// Read has a Dockerfile read, of an engine, and returns why not.
func Read(ctx context.Context, order admission.KitBuild, engine gateway.Client) error {
	run := &build{KitBuild: order, tell: func([]byte) {}, now: time.Now, log: slog.New(slog.DiscardHandler)}
	result, err := run.read(ctx, engine)
	if err == nil && result == nil {
		err = errors.New("there is no result")
	}
	return err
}

// Person returns whether somebody has a session.
func (b *Builder) Person(ctx context.Context, uid int, id string) error {
	_, release, err := b.person(ctx, uid, id)
	if err == nil {
		release()
	}
	return err
}

// Login returns what the client of a session says of its login at a registry.
func (b *Builder) Login(ctx context.Context, uid int, id, host string) (admission.Credentials, error) {
	person, release, err := b.person(ctx, uid, id)
	if err != nil {
		return admission.Credentials{}, err
	}
	defer release()
	return (&build{person: person}).login(ctx, host)
}

// Begun returns how many of those who ask for one build at one time may do it.
func Begun(askers int) int {
	c := &controller{solves: map[string]*solve{}}
	var begun atomic.Int64
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			if s, err := c.solve("one"); err == nil && c.begin(s) {
				begun.Add(1)
			}
		})
	}
	all.Wait()
	return int(begun.Load())
}

// TellAndRefuse has somebody listen to a build who takes nothing, and returns
// what becomes of a refusal meanwhile.
func TellAndRefuse(why error) error {
	stuck := make(chan struct{})
	told := make(chan struct{}, 1)
	run := &build{KitBuild: admission.KitBuild{Show: func(s string) string { return s }}, now: time.Now, tell: func([]byte) { told <- struct{}{}; <-stuck }}
	var notes sync.WaitGroup
	notes.Go(func() { run.note("something") })
	<-told
	_ = run.refuse(why) // it is kept
	close(stuck)
	notes.Wait()
	return run.refused()
}

// A Build is one that has begun.
type Build struct {
	b    *Builder
	made *making
}

// BeginBuild has a build of a person's begin, as far as the cache goes.
func (b *Builder) BeginBuild(ctx context.Context, uid int) (*Build, error) {
	engine, err := b.engine(ctx)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	made, err := b.beginMaking(ctx, engine, uid)
	return &Build{b, made}, err
}

// End has it end.
func (x *Build) End(ctx context.Context) error {
	engine, err := x.b.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	x.b.endMaking(ctx, engine, x.made)
	return nil
}

// Lend has the engine ask what somebody's session answers, until ctx ends.
func (b *Builder) Lend(ctx context.Context, uid int, id string) error {
	person, release, err := b.person(ctx, uid, id)
	if err != nil {
		return err
	}
	defer release()
	return b.lend(ctx, "ours", "key", person, uid)
}
