package buildkit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// frontend is BuildKit as the Dockerfile's reader sees it: what it asks for is
// policed first. The reader calls from goroutines of its own, too, so that each
// method which does something is guarded.
type frontend struct {
	gateway.Client
	*build
}

// run has the engine build by the Dockerfile. BuildKit's own builder.Build does
// that in goroutines which a panic would end the daemon from.
func (f *frontend) run(ctx context.Context) (*gateway.Result, error) {
	text, options, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	if f.Judge != nil {
		bases, err := f.listBases(ctx, text, options)
		if err != nil {
			return nil, err
		}
		if err := f.judge(ctx, bases...); err != nil {
			return nil, f.refuse(err)
		}
	}
	return f.carryOut(ctx, text, options)
}

// read returns the Dockerfile, and how it is to be read.
func (f *frontend) read(ctx context.Context) (text []byte, options dockerfile2llb.ConvertOpt, err error) {
	ui, err := dockerui.NewClient(f)
	if err != nil {
		return nil, options, err
	}
	source, err := ui.ReadEntrypoint(ctx, "Dockerfile")
	if err != nil {
		return nil, options, err
	}
	if name, _, _, ok := parser.DetectSyntax(source.Data); ok {
		if err := f.syntax(name); err != nil {
			return nil, options, err
		}
	}
	options = dockerfile2llb.ConvertOpt{Config: ui.Config, Client: ui, SourceMap: source.SourceMap, MetaResolver: f}
	if n := len(ui.TargetPlatforms); n > 1 {
		return nil, options, f.refuse(&problem.Error{
			What: notBuilt, Why: problem.Because(problem.ErrDenied, fmt.Sprintf("it is for %d platforms at once, and the engine keeps one image of a build", n)),
			Next: "Build for one: --platform=linux/amd64.",
		})
	} else if n == 1 {
		options.TargetPlatform = &ui.TargetPlatforms[0]
	}
	return source.Data, options, nil
}

// carryOut has the engine build by a Dockerfile.
func (f *frontend) carryOut(ctx context.Context, text []byte, options dockerfile2llb.ConvertOpt) (*gateway.Result, error) {
	definition, image, err := convert(ctx, text, options)
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(image)
	if err != nil {
		return nil, fmt.Errorf("write the image's configuration: %w", err)
	}
	result, err := f.Solve(ctx, gateway.SolveRequest{Definition: definition})
	if err != nil {
		return nil, err
	}
	result.AddMeta(exptypes.ExporterImageConfigKey, config)
	return result, nil
}

// convert reads a Dockerfile.
func convert(ctx context.Context, text []byte, options dockerfile2llb.ConvertOpt) (*pb.Definition, any, error) {
	state, image, _, _, err := dockerfile2llb.Dockerfile2LLB(ctx, text, options)
	if err != nil {
		return nil, nil, err
	}
	definition, err := state.Marshal(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("write the build: %w", err)
	}
	return definition.ToPB(), image, nil
}

// BuildOpts returns the options of this build; the reader changes them.
func (f *frontend) BuildOpts() gateway.BuildOpts {
	o := f.Client.BuildOpts()
	o.Opts = maps.Clone(f.Attributes)
	return o
}

// Solve polices a definition and has the engine carry it out.
func (f *frontend) Solve(ctx context.Context, req gateway.SolveRequest) (result *gateway.Result, err error) {
	err = guard(f.log, func() error {
		if req.Frontend != "" {
			return f.refuse(unknown("another frontend"))
		}
		definition, err := f.police(ctx, req.Definition)
		if err != nil {
			return f.refuse(err)
		}
		result, err = f.Client.Solve(ctx, gateway.SolveRequest{Definition: definition, Evaluate: req.Evaluate})
		return err
	})
	return result, err
}

var builtIn = regexp.MustCompile(`^(docker\.io/)?docker/dockerfile(-upstream)?(:1(\.[0-9]+)*|:latest|:master)?(-labs)?(@sha256:[0-9a-f]{64})?$`)

// syntax refuses a Dockerfile whose "# syntax=" line names a frontend, unless it
// is Docker's own: that is what ds01 reads Dockerfiles with.
func (f *frontend) syntax(name string) error {
	if !builtIn.MatchString(name) {
		return f.refuse(&problem.Error{
			What: notBuilt, Why: problem.Because(problem.ErrDenied, "the Dockerfile's syntax line names "+name+", a program that would write the build in your place"),
			Next: "Leave the line away, or write # syntax=docker/dockerfile:1, which ds01 reads by itself.",
		})
	}
	f.note("# syntax=" + name + " is read by ds01's own Dockerfile frontend")
	return nil
}

// ResolveImageConfig looks at an image that the person may use.
func (f *frontend) ResolveImageConfig(ctx context.Context, ref string, opt sourceresolver.Opt) (_ string, found digest.Digest, config []byte, err error) {
	err = guard(f.log, func() error {
		if err := f.judge(ctx, ref); err != nil {
			return f.refuse(err)
		}
		name, err := f.Image(ctx, ref, f.login)
		if err != nil {
			return f.refuse(err)
		}
		_, found, config, err = f.Client.ResolveImageConfig(ctx, name, sourceresolver.Opt{
			LogName: opt.LogName, Platform: opt.Platform, ImageOpt: &sourceresolver.ResolveImageOpt{ResolveMode: pb.AttrImageResolveModePreferLocal},
		})
		return err
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
