package buildkit_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	bridge "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/docker/buildkit"
)

const broke = "it broke something in ds01"

// A bomb is a message that can't be read.
type bomb struct{}

func (bomb) ProtoReflect() protoreflect.Message { panic("planted") }

// Each of these panics ends the test's process where nobody guards the call.
func TestAPanicEndsTheCallAlone(t *testing.T) {
	one := func(_ any, ctx context.Context, read func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		if err := read(new(emptypb.Empty)); err != nil {
			return nil, err
		}
		return intercept(ctx, nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { panic("planted") })
	}
	reads := func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		return new(emptypb.Empty), read(bomb{})
	}
	streams := func(any, grpc.ServerStream) error { panic("planted") }
	server := grpc.NewServer(buildkit.Guarded()...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "x", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "One", Handler: one}, {MethodName: "Reads", Handler: reads}},
		Streams: []grpc.StreamDesc{{StreamName: "Streams", Handler: streams, ServerStreams: true}},
	}, nil)
	ours, theirs := net.Pipe()
	go server.Serve(&once{ours})
	conn, err := grpc.NewClient("passthrough:x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return theirs, nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, method := range []string{"One", "Reads", "Streams"} {
		if err := conn.Invoke(t.Context(), "/x/"+method, new(emptypb.Empty), new(emptypb.Empty)); err == nil || !strings.Contains(err.Error(), broke) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestABuildThatPanicsEndsAlone(t *testing.T) {
	c := speaks(t, func(context.Context, admission.KitRequest, func([]byte)) (string, error) { panic("planted") })
	if _, _, err := asBuildx(t, c, client.SolveOpt{}, dockerfile(nil)); err == nil || !strings.Contains(err.Error(), broke) {
		t.Errorf("got %v", err)
	}
	if _, err := c.ListWorkers(t.Context()); err != nil {
		t.Errorf("it serves no more: %v", err)
	}
}

// A reader stands in for the engine while a Dockerfile is read.
type reader struct {
	gateway.Client
	gateway.Reference

	text   string
	solves *int
}

func (reader) BuildOpts() gateway.BuildOpts {
	return gateway.BuildOpts{LLBCaps: pb.Caps.CapSet(pb.Caps.All()), Caps: bridge.Caps.CapSet(bridge.Caps.All())}
}

func (r reader) Solve(context.Context, gateway.SolveRequest) (*gateway.Result, error) {
	*r.solves++
	result := gateway.NewResult()
	result.SetRef(r)
	return result, nil
}

func (r reader) ReadFile(context.Context, gateway.ReadRequest) ([]byte, error) {
	if r.text == "" {
		panic("planted")
	}
	return []byte(r.text), nil
}

func (reader) ResolveImageConfig(context.Context, string, sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return "", digest.FromString("x"), []byte(`{"os":"linux","architecture":"amd64"}`), nil
}

func TestADockerfileIsReadByUs(t *testing.T) {
	for text, want := range map[string]string{
		"FROM app:1 AS one\nRUN true\nFROM one\n":                       "",
		"FROM app:1\nRUN --mount=type=bind,from=app:2,target=/x true\n": "",
		"# syntax=docker/dockerfile:1\nFROM app:1\n":                    "",
		"# syntax=evil/frontend\nFROM app:1\n":                          "names evil/frontend",
		"FROM app:1\nRUM true\n":                                        "unknown instruction: RUM",
		"FROM secret:1\n":                                               "it isn't there",
		"FROM app:1\nRUN --network=host true\n":                         "reach what listens on the host",
		"":                                                              broke, // the engine's answer can't be read
		"FROM bomb:1\n":                                                 broke, // in a goroutine of the library's
		"FROM app:1\nRUN --mount=type=bind,from=bomb:2,target=/x true\n": broke,
	} {
		o := order(1)
		image := o.Image
		o.Image = func(ctx context.Context, name string, login admission.KitLogin) (string, error) {
			if strings.Contains(name, "bomb") {
				panic("planted")
			}
			return image(ctx, name, login)
		}
		solves := 0
		err := buildkit.Read(t.Context(), o, reader{text: text, solves: &solves})
		if want == "" && (err != nil || solves != 2) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %d solves, %v, want %q", text, solves, err, want)
		}
	}
	o, solves := order(1), 0
	o.Attributes = map[string]string{"platform": "linux/amd64,linux/arm64"}
	if err := buildkit.Read(t.Context(), o, reader{text: "FROM app:1\n", solves: &solves}); err == nil || !strings.Contains(err.Error(), "2 platforms at once") {
		t.Errorf("for two platforms: %v", err)
	}
}
