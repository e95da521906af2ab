package buildkit

import (
	"context"
	"maps"
	"regexp"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/builder"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// frontend is BuildKit as the Dockerfile's reader sees it: what it asks for is
// policed first.
type frontend struct {
	gateway.Client
	*build

	syntax string // what the Dockerfile's syntax line names
}

func (f *frontend) run(ctx context.Context) (*gateway.Result, error) {
	return builder.Build(ctx, f)
}

// BuildOpts returns the options of this build; the reader changes them.
func (f *frontend) BuildOpts() gateway.BuildOpts {
	o := f.Client.BuildOpts()
	o.Opts = maps.Clone(f.Attributes)
	if f.syntax != "" {
		o.Opts["cmdline"] = f.syntax
	}
	return o
}

// Solve polices a definition and has the engine carry it out.
func (f *frontend) Solve(ctx context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	if req.Frontend != "" {
		return f.another(ctx, req)
	}
	definition, err := f.police(ctx, req.Definition)
	if err != nil {
		return nil, f.refuse(err)
	}
	if len(req.CacheImports) > 0 {
		f.note("cache from other places is not read (--cache-from)")
	}
	return f.Client.Solve(ctx, gateway.SolveRequest{Definition: definition, Evaluate: req.Evaluate})
}

var builtIn = regexp.MustCompile(`^(docker\.io/)?docker/dockerfile(-upstream)?(:1(\.[0-9]+)*|:latest|:master)?(-labs)?(@sha256:[0-9a-f]{64})?$`)

// another reads a Dockerfile whose "# syntax=" line names a frontend. Docker's
// own is what ds01 reads Dockerfiles with.
func (f *frontend) another(ctx context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	name := req.FrontendOpt["source"]
	if req.Frontend != "gateway.v0" || !builtIn.MatchString(name) || f.syntax != "" {
		return nil, f.refuse(&problem.Error{
			What: notBuilt, Why: problem.Because(problem.ErrDenied, "the Dockerfile's syntax line names "+name+", a program that would write the build in your place"),
			Next: "Leave the line away, or write # syntax=docker/dockerfile:1, which ds01 reads by itself.",
		})
	}
	f.note("# syntax=" + name + " is read by ds01's own Dockerfile frontend")
	return (&frontend{Client: f.Client, build: f.build, syntax: name}).run(ctx)
}

// ResolveImageConfig looks at an image that the person may use.
func (f *frontend) ResolveImageConfig(ctx context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	name, err := f.Image(ctx, ref)
	if err != nil {
		return "", "", nil, f.refuse(err)
	}
	_, found, config, err := f.Client.ResolveImageConfig(ctx, name, sourceresolver.Opt{
		LogName: opt.LogName, Platform: opt.Platform, ImageOpt: &sourceresolver.ResolveImageOpt{ResolveMode: pb.AttrImageResolveModePreferLocal},
	})
	return ref, found, config, err
}

// ResolveSourceMetadata is what newer readers of Dockerfiles ask for other
// sources than images.
func (f *frontend) ResolveSourceMetadata(context.Context, *pb.SourceOp, sourceresolver.Opt) (*sourceresolver.MetaResponse, error) {
	return nil, f.refuse(admission.NoSource("other"))
}

// Inputs returns none: the client can't write a build by itself.
func (*frontend) Inputs(context.Context) (map[string]llb.State, error) { return nil, nil }

// NewContainer refuses: it would run outside the build.
func (f *frontend) NewContainer(context.Context, gateway.NewContainerRequest) (gateway.Container, error) {
	return nil, f.refuse(&problem.Error{
		What: notBuilt, Why: problem.Because(problem.ErrDenied, "a build may not ask for containers beside its steps"), Next: "Use RUN.",
	})
}

// Warn drops the reader's advice, which engines before 23.0 can't hand on.
func (*frontend) Warn(context.Context, digest.Digest, string, gateway.WarnOpts) error { return nil }
