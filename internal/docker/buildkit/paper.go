package buildkit

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"time"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	bridge "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"ds01.dev/ds01/internal/admission"
)

// Bases returns the images that a build by this Dockerfile would be made on or
// copy from, as far as it says by itself. Nothing is asked of the engine.
func Bases(ctx context.Context, dockerfile []byte, attributes map[string]string) ([]string, error) {
	run := &build{KitBuild: admission.KitBuild{
		KitOptions: admission.KitOptions{Attributes: attributes}, Show: func(text string) string { return text },
	}, tell: func([]byte) {}, now: func() time.Time { return time.Time{} }}
	f := &frontend{Client: paper{text: dockerfile, name: attributes["filename"]}, build: run}
	text, options, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	names, err := f.listBases(ctx, text, options)
	for i, name := range names {
		names[i] = familiar(name)
	}
	return names, err
}

// paper is BuildKit that only has a Dockerfile.
type paper struct {
	gateway.Client
	gateway.Reference

	text []byte
	name string
}

// BuildOpts says that everything can be done.
func (paper) BuildOpts() gateway.BuildOpts {
	return gateway.BuildOpts{
		Opts: map[string]string{}, LLBCaps: pb.Caps.CapSet(pb.Caps.All()), Caps: bridge.Caps.CapSet(bridge.Caps.All()),
		Workers: []gateway.WorkerInfo{{Platforms: []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}}}},
	}
}

// Solve returns the folder with the Dockerfile.
func (p paper) Solve(context.Context, gateway.SolveRequest) (*gateway.Result, error) {
	r := gateway.NewResult()
	r.SetRef(p)
	return r, nil
}

// ReadFile returns the Dockerfile.
func (p paper) ReadFile(_ context.Context, req gateway.ReadRequest) ([]byte, error) {
	want := p.name
	if want == "" {
		want = "Dockerfile"
	}
	if path.Clean(req.Filename) != path.Clean(want) {
		return nil, fmt.Errorf("open %s: %w", req.Filename, fs.ErrNotExist)
	}
	return p.text, nil
}
