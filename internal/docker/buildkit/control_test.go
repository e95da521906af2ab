package buildkit_test

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	control "github.com/moby/buildkit/api/services/control"
	workers "github.com/moby/buildkit/api/types"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/docker/buildkit"
)

// An engine knows one worker, with labels that are the host's own.
type engine struct {
	control.UnimplementedControlServer

	cache []*control.UsageRecord
}

func (e engine) DiskUsage(context.Context, *control.DiskUsageRequest) (*control.DiskUsageResponse, error) {
	return &control.DiskUsageResponse{Record: e.cache}, nil
}

// Prune removes what the filters name by id.
func (e engine) Prune(req *control.PruneRequest, to grpc.ServerStreamingServer[control.UsageRecord]) error {
	for _, r := range e.cache {
		if len(req.Filter) == 0 || slices.Contains(req.Filter, "id=="+r.ID) {
			if err := to.Send(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (engine) ListWorkers(context.Context, *control.ListWorkersRequest) (*control.ListWorkersResponse, error) {
	return &control.ListWorkersResponse{Record: []*workers.WorkerRecord{{
		ID: "w", Labels: map[string]string{"hostname": "host"}, Platforms: []*pb.Platform{{OS: "linux", Architecture: "amd64"}},
	}}}, nil
}

// records keep nothing.
type records map[string][]int

func (r records) CacheOwners(context.Context) (map[string][]int, error) { return r, nil }
func (records) OwnCache(context.Context, string, int) error             { return nil }
func (records) ForgetCache(context.Context, string) error               { return nil }

// dial connects to an engine as ds01 does.
func dial(ctx context.Context) (net.Conn, error) { return engine{}.dial(ctx) }

func (e engine) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		reader := bufio.NewReader(theirs)
		if _, err := http.ReadRequest(reader); err != nil {
			return
		}
		if _, err := theirs.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n")); err != nil {
			return
		}
		server := grpc.NewServer()
		control.RegisterControlServer(server, e)
		server.Serve(&once{theirs})
	}()
	return ours, nil
}

// once listens for one connection.
type once struct{ net.Conn }

func (o *once) Accept() (net.Conn, error) {
	if o.Conn == nil {
		select {}
	}
	conn := o.Conn
	o.Conn = nil
	return conn, nil
}

func (*once) Addr() net.Addr { return &net.UnixAddr{} }
func (*once) Close() error   { return nil }

// speaks returns a client of BuildKit's that ds01 serves, and what it has asked for.
func speaks(t *testing.T, do buildkit.Doer) *client.Client {
	t.Helper()
	return speaksTo(t, buildkit.New(dial, time.Now, records{}, slog.New(slog.DiscardHandler)), do)
}

// speaksTo returns a client of person 1001.
func speaksTo(t *testing.T, b *buildkit.Builder, do buildkit.Doer) *client.Client {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- b.Serve(t.Context(), ours, 1001, do) }()
	c, err := client.New(t.Context(), "", client.WithContextDialer(func(context.Context, string) (net.Conn, error) { return theirs, nil }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c
}

// asBuildx does a build as buildx does: it tells of it on the bridge.
func asBuildx(t *testing.T, c *client.Client, opt client.SolveOpt, req gateway.SolveRequest) (told []string, resp *client.SolveResponse, err error) {
	t.Helper()
	if opt.SharedSession, err = session.NewSession(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	opt.SessionPreInitialized = true
	if opt.Exports == nil {
		opt.Exports = []client.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": "app:1,app:2"}}}
	}
	statuses := make(chan *client.SolveStatus)
	var building sync.WaitGroup
	building.Go(func() {
		resp, err = c.Build(t.Context(), opt, "buildx", func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
			return gw.Solve(ctx, req)
		}, statuses)
	})
	for s := range statuses {
		for _, v := range s.Vertexes {
			told = append(told, v.Name)
		}
	}
	building.Wait()
	return told, resp, err
}

func dockerfile(options map[string]string) gateway.SolveRequest {
	return gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: options}
}

func TestABuildOfBuildxIsReviewed(t *testing.T) {
	var got admission.KitRequest
	c := speaks(t, func(_ context.Context, r admission.KitRequest, tell func([]byte)) (string, error) {
		got = r
		data, err := proto.Marshal(&control.StatusResponse{Vertexes: []*control.Vertex{{Name: "step"}}})
		tell(data)
		return "sha256:1", err
	})
	told, resp, err := asBuildx(t, c, client.SolveOpt{CacheExports: []client.CacheOptionsEntry{{Type: "inline"}}}, dockerfile(map[string]string{
		"filename": "Dockerfile", "build-arg:A": "1", "label:l": "m", "context:base": "docker-image://x", "frontend.caps": "moby.buildkit.frontend.contexts+forward", "dockerfilekey": "dockerfile", "vcs:revision": "1", "attest:provenance": "x",
		"image-resolve-mode": "local", "shm-size": "", "cache-imports": `[{"Type":"registry","Attrs":{"ref":"x"}}]`, "build-arg:BUILDKIT_INLINE_CACHE": "1",
	}))
	if err != nil || len(told) != 1 || told[0] != "step" || resp.ExporterResponse["containerimage.digest"] != "sha256:1" {
		t.Errorf("told %q, answered %v, %v", told, resp, err)
	}
	want := map[string]string{"filename": "Dockerfile", "build-arg:A": "1", "label:l": "m", "context:base": "docker-image://x"}
	if diff := cmp.Diff(want, got.Attributes); diff != "" || len(got.Targets) != 2 || len(got.Notes) != 3 || got.Session == "" {
		t.Errorf("it asked for %+v\n%s", got, diff)
	}
}

func TestFilesAreAnOutput(t *testing.T) {
	for kind, want := range map[string]admission.KitOutputs{"local": admission.KitFiles, "tar": admission.KitTar} {
		var got admission.KitRequest
		c := speaks(t, func(_ context.Context, r admission.KitRequest, _ func([]byte)) (string, error) {
			got = r
			return "", nil
		})
		_, resp, err := asBuildx(t, c, client.SolveOpt{Exports: []client.ExportEntry{{Type: kind}}}, dockerfile(nil))
		if err != nil || got.Output != want || len(resp.ExporterResponse) > 0 {
			t.Errorf("%s: it asked for %q, and is answered %v, %v", kind, got.Output, resp, err)
		}
	}
}

func TestABuildThatFailsSaysWhy(t *testing.T) {
	c := speaks(t, func(context.Context, admission.KitRequest, func([]byte)) (string, error) {
		return "", errors.New("exit code: 1")
	})
	if _, _, err := asBuildx(t, c, client.SolveOpt{}, dockerfile(nil)); err == nil || !strings.Contains(err.Error(), "ds01: exit code: 1") {
		t.Errorf("got %v", err)
	}
}

func TestWhatBuildxMayNotAskForIsRefused(t *testing.T) {
	definition, err := llb.Scratch().File(llb.Mkdir("/x", 0o755)).Marshal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opt client.SolveOpt
		req gateway.SolveRequest
	}{
		"the host's network":       {req: dockerfile(map[string]string{"force-network-mode": "host"})},
		"a group of one's choice":  {req: dockerfile(map[string]string{"cgroup-parent": "/"})},
		"limits of files":          {req: dockerfile(map[string]string{"ulimit": "nofile=1"})},
		"another frontend":         {req: dockerfile(map[string]string{"build-arg:BUILDKIT_SYNTAX": "x"})},
		"another frontend's words": {req: dockerfile(map[string]string{"source": "evil", "cmdline": "evil"})},
		"what isn't known here":    {req: dockerfile(map[string]string{"frontend.caps": "moby.buildkit.frontend.contexts+forward,moby.buildkit.frontend.other"})},
		"an option of tomorrow":    {req: dockerfile(map[string]string{"new": "1"})},
		"the frontend of gateways": {req: gateway.SolveRequest{Frontend: "gateway.v0", FrontendOpt: map[string]string{"source": "evil"}}},
		"a build of its own":       {req: gateway.SolveRequest{Definition: definition.ToPB()}},
		"an input of its own":      {req: gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendInputs: map[string]*pb.Definition{"context": definition.ToPB()}}},
		"entitlements":             {opt: client.SolveOpt{AllowedEntitlements: []string{"security.insecure"}}, req: dockerfile(nil)},
		"a cache that is pushed":   {opt: client.SolveOpt{CacheExports: []client.CacheOptionsEntry{{Type: "inline"}, {Type: "registry", Attrs: map[string]string{"ref": "x"}}}}, req: dockerfile(nil)},
		"no output":                {opt: client.SolveOpt{Exports: []client.ExportEntry{}}, req: dockerfile(nil)},
		"two outputs":              {opt: client.SolveOpt{Exports: []client.ExportEntry{{Type: "moby"}, {Type: "moby"}}}, req: dockerfile(nil)},
		"an archive of the image":  {opt: client.SolveOpt{Exports: []client.ExportEntry{{Type: "oci"}}}, req: dockerfile(nil)},
		"one of docker's":          {opt: client.SolveOpt{Exports: []client.ExportEntry{{Type: "docker"}}}, req: dockerfile(nil)},
		"an output of tomorrow":    {opt: client.SolveOpt{Exports: []client.ExportEntry{{Type: "new"}}}, req: dockerfile(nil)},
		"files and an image":       {opt: client.SolveOpt{Exports: []client.ExportEntry{{Type: "local"}, {Type: "moby"}}}, req: dockerfile(nil)},
		"a push":                   {opt: client.SolveOpt{Exports: []client.ExportEntry{{Type: "moby", Attrs: map[string]string{"push": "true"}}}}, req: dockerfile(nil)},
	} {
		cl := speaks(t, func(context.Context, admission.KitRequest, func([]byte)) (string, error) {
			t.Errorf("%s: it was built", name)
			return "", nil
		})
		if _, _, err := asBuildx(t, cl, c.opt, c.req); err == nil || !strings.Contains(err.Error(), "ds01: Image not built") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// buildx asks so for what the builder can do, before each build.
func TestABuildOfNothingIsDone(t *testing.T) {
	c := speaks(t, func(context.Context, admission.KitRequest, func([]byte)) (string, error) {
		t.Error("it was built")
		return "", nil
	})
	_, err := c.Build(t.Context(), client.SolveOpt{Internal: true}, "buildx", func(_ context.Context, gw gateway.Client) (*gateway.Result, error) {
		if len(gw.BuildOpts().Workers) != 1 {
			t.Errorf("it has %+v", gw.BuildOpts())
		}
		return nil, nil
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestWhatTheHostIsLikeIsNotTold(t *testing.T) {
	c := speaks(t, nil)
	all, err := c.ListWorkers(t.Context())
	if err != nil || len(all) != 1 || len(all[0].Labels) > 0 || len(all[0].Platforms) != 1 {
		t.Errorf("got %+v, %v", all, err)
	}
	if du, err := c.DiskUsage(t.Context()); err != nil || len(du) > 0 {
		t.Errorf("the disk is used by %v, %v", du, err)
	}
	if err := c.Prune(t.Context(), nil, client.PruneAll); err != nil {
		t.Error(err)
	}
	if _, err := c.Info(t.Context()); err == nil {
		t.Error("it says what the engine is")
	}
}

func TestABuildIsBegunOnceHoweverManyAskForIt(t *testing.T) {
	if n := buildkit.Begun(64); n != 1 {
		t.Errorf("%d have begun it", n)
	}
}

func TestWhoTakesNothingKeepsNoBuildFromBeingEnded(t *testing.T) {
	full := errors.New("the disk is full")
	if err := buildkit.TellAndRefuse(full); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
