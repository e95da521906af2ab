package buildkit

import (
	"context"
	"time"

	"github.com/moby/buildkit/solver/pb"

	"ds01.dev/ds01/internal/admission"
)

// Police polices a definition of somebody's build, for whose files the engine
// asks a session.
func Police(ctx context.Context, order admission.KitBuild, session string, d *pb.Definition) (*pb.Definition, error) {
	run := &build{KitBuild: order, session: session, tell: func([]byte) {}, now: time.Now}
	return run.police(ctx, d)
}

// Person returns whether somebody has a session.
func (b *Builder) Person(ctx context.Context, uid int, id string) error {
	_, release, err := b.person(ctx, uid, id)
	if err == nil {
		release()
	}
	return err
}
