package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	control "github.com/moby/buildkit/api/services/control"
	workers "github.com/moby/buildkit/api/types"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/buildid"
	bridge "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// A Doer does one build of a person's and tells of it, as Build does. It
// returns the image's id, "" where files came of it.
type Doer = func(ctx context.Context, r admission.KitRequest, tell func(trace []byte)) (image string, err error)

// Serve speaks BuildKit's control API with one client of a person's, such as
// buildx, until either side ends. What isn't a method here isn't served.
func (b *Builder) Serve(ctx context.Context, conn net.Conn, uid int, do Doer) error {
	c := &controller{builder: b, uid: uid, do: do, solves: map[string]*solve{}}
	server := grpc.NewServer(guarded(b.log)...)
	control.RegisterControlServer(server, c)
	bridge.RegisterLLBBridgeServer(server, &bridged{client: c})
	one := &oneConnection{Conn: conn, over: make(chan struct{})}
	defer context.AfterFunc(ctx, func() { _ = one.Close() })() // the client went, too
	err := server.Serve(one)
	server.Stop()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// oneConnection listens for one connection, which is there already.
type oneConnection struct {
	net.Conn
	accepted bool
	closing  sync.Once
	over     chan struct{}
}

// Accept returns the connection, and when it has ended that there is no more.
func (o *oneConnection) Accept() (net.Conn, error) {
	if o.accepted {
		<-o.over
		return nil, net.ErrClosed
	}
	o.accepted = true
	return o, nil
}

// Addr is of no use.
func (o *oneConnection) Addr() net.Addr { return o.LocalAddr() }

// Close ends the connection, and with it the listening.
func (o *oneConnection) Close() error {
	err := net.ErrClosed
	o.closing.Do(func() {
		close(o.over)
		err = o.Conn.Close()
	})
	return err
}

// controller is one client's.
type controller struct {
	control.UnimplementedControlServer

	builder *Builder
	uid     int
	do      Doer

	mu     sync.Mutex
	solves map[string]*solve // by what the client calls them
}

// maxSolves is how many builds a client may speak of on one connection.
const maxSolves = 64

// A solve is a build that the client speaks of: it asks for it, follows it, and
// may say the options later.
type solve struct {
	traces  chan []byte
	over    chan struct{} // closed when it is done
	asked   chan struct{} // closed once the client has asked for it
	begun   bool          // it has, or is about to
	back    chan returned // what the client makes of it
	options map[string]string
}

// returned is what the client's own part of a build came to.
type returned struct {
	options map[string]string
	read    admission.KitOptions // the same, reviewed
	nothing bool                 // it has only looked what there is
	err     error
}

// solve returns a build by the client's name.
func (c *controller) solve(ref string) (*solve, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.solves[ref]; s != nil {
		return s, nil
	}
	if ref == "" || len(c.solves) >= maxSolves {
		return nil, failed(&problem.Error{
			What: notBuilt, Why: problem.Because(problem.ErrLimit, fmt.Sprintf("the client speaks of %d builds on one connection", len(c.solves))), Next: "Build again.",
		})
	}
	s := &solve{traces: make(chan []byte, 16), over: make(chan struct{}), asked: make(chan struct{}), back: make(chan returned, 1)}
	c.solves[ref] = s
	return s, nil
}

// failed is an error as the client shows it.
func failed(err error) error { return status.Error(codes.Unknown, problem.OneLine(err)) }

// answered is an error of a call, those in ds01's words as the client shows them.
func answered(err error) error {
	if _, ours := errors.AsType[*problem.Error](err); ours {
		return failed(err)
	}
	return err
}

// Solve does a build. One without a frontend is told of by the client on the
// bridge.
func (c *controller) Solve(ctx context.Context, req *control.SolveRequest) (*control.SolveResponse, error) {
	s, err := c.solve(req.Ref)
	if err != nil {
		return nil, err
	}
	if !c.begin(s) {
		return nil, status.Error(codes.AlreadyExists, "ds01: a build is asked for once")
	}
	defer close(s.over)
	request, err := admission.ReadKitSolve(asked(req))
	if err != nil {
		return nil, failed(err)
	}
	if req.Frontend == "" {
		said, err := s.said(ctx)
		if err != nil || said.nothing {
			return &control.SolveResponse{}, err
		}
		request.Attributes, request.Notes = said.read.Attributes, append(request.Notes, said.read.Notes...)
	}
	if request.Output == "" {
		return nil, failed(admission.NoKitOutput())
	}
	image, err := c.do(ctx, request, func(trace []byte) {
		select {
		case s.traces <- trace:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return nil, failed(err)
	}
	if image == "" { // files came of it
		return &control.SolveResponse{}, nil
	}
	return &control.SolveResponse{ExporterResponse: map[string]string{"containerimage.digest": image, "containerimage.config.digest": image}}, nil
}

// begin notes that the client has asked for a build; false if it had before.
func (c *controller) begin(s *solve) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.begun {
		return false
	}
	s.begun = true
	close(s.asked)
	return true
}

// said waits for what the client says on the bridge.
func (s *solve) said(ctx context.Context) (returned, error) {
	select {
	case r := <-s.back:
		if r.err != nil || r.nothing {
			return r, r.err
		}
		options, err := admission.ReadKitAttributes(r.options)
		if err != nil {
			return r, failed(err)
		}
		return returned{read: options}, nil
	case <-ctx.Done():
		return returned{}, ctx.Err()
	}
}

// asked is what a client wants, in ds01's own words.
func asked(req *control.SolveRequest) admission.KitSolve {
	a := admission.KitSolve{
		Session: req.Session, Frontend: req.Frontend, Attributes: req.FrontendAttrs, Entitlements: req.Entitlements,
		Written: req.Definition != nil || len(req.FrontendInputs) > 0 || req.SourcePolicy != nil,
	}
	for _, e := range req.GetCache().GetExports() {
		a.CacheOut = append(a.CacheOut, e.Type)
	}
	for _, e := range req.Exporters {
		a.Outputs = append(a.Outputs, admission.KitOutput{Type: e.Type, Attrs: e.Attrs})
	}
	if len(a.Outputs) == 0 && req.ExporterDeprecated != "" {
		a.Outputs = []admission.KitOutput{{Type: req.ExporterDeprecated, Attrs: req.ExporterAttrsDeprecated}}
	}
	return a
}

// Status tells of a build until it is done.
func (c *controller) Status(req *control.StatusRequest, to grpc.ServerStreamingServer[control.StatusResponse]) error {
	s, err := c.solve(req.Ref)
	if err != nil {
		return err
	}
	for {
		var trace []byte
		select {
		case trace = <-s.traces:
		case <-to.Context().Done():
			return to.Context().Err()
		case <-s.over:
			select {
			case trace = <-s.traces: // what came before its end
			default:
				return nil
			}
		}
		var m control.StatusResponse
		if err := proto.Unmarshal(trace, &m); err != nil {
			return fmt.Errorf("tell of a build: %w", err)
		}
		if err := to.Send(&m); err != nil {
			return err
		}
	}
}

// ListWorkers says for which platforms the engine builds.
func (c *controller) ListWorkers(ctx context.Context, _ *control.ListWorkersRequest) (*control.ListWorkersResponse, error) {
	engine, err := c.builder.engine(ctx)
	if err != nil {
		return nil, failed(err)
	}
	defer engine.Close() //nolint:errcheck // everything was said
	all, err := engine.ControlClient().ListWorkers(ctx, &control.ListWorkersRequest{})
	if err != nil {
		return nil, err
	}
	shown := &control.ListWorkersResponse{}
	for _, w := range all.Record {
		shown.Record = append(shown.Record, &workers.WorkerRecord{ID: w.ID, Platforms: w.Platforms})
	}
	return shown, nil
}

// engine connects to the engine's BuildKit.
func (b *Builder) engine(ctx context.Context) (*client.Client, error) {
	engine, err := client.New(ctx, "", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return b.upgrade(ctx, "/grpc", nil)
	}))
	if err != nil {
		return nil, fmt.Errorf("connect to the engine's BuildKit: %w", err)
	}
	return engine, nil
}

// bridged is where a client says what a build is that it has asked for. It gets
// no result to look into: the build is done when it has returned.
type bridged struct {
	bridge.UnimplementedLLBBridgeServer

	client *controller
}

// result is what the client calls the result of its build.
const result = "result"

// of returns the build that a call is about.
func (b *bridged) of(ctx context.Context) (*solve, error) {
	s, err := b.client.solve(buildid.FromIncomingContext(ctx))
	if err != nil {
		return nil, err
	}
	select {
	case <-s.asked:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Ping says what BuildKit's library can do: the client asks for a Dockerfile to
// be read, which is ds01's to do.
func (b *bridged) Ping(ctx context.Context, _ *bridge.PingRequest) (*bridge.PongResponse, error) {
	if _, err := b.of(ctx); err != nil {
		return nil, err
	}
	return &bridge.PongResponse{FrontendAPICaps: bridge.Caps.All(), LLBCaps: pb.Caps.All()}, nil
}

// Solve keeps the options of the build.
func (b *bridged) Solve(ctx context.Context, req *bridge.SolveRequest) (*bridge.SolveResponse, error) {
	s, err := b.of(ctx)
	if err != nil {
		return nil, err
	}
	if err := admission.CheckKitFrontend(req.Frontend, req.Definition != nil || len(req.FrontendInputs) > 0 || len(req.SourcePolicies) > 0); err != nil {
		return nil, failed(err)
	}
	b.client.mu.Lock()
	defer b.client.mu.Unlock()
	s.options = req.FrontendOpt
	return &bridge.SolveResponse{Result: &bridge.Result{Result: &bridge.Result_Ref{Ref: &bridge.Ref{Id: result}}}}, nil
}

// Return has the build done.
func (b *bridged) Return(ctx context.Context, req *bridge.ReturnRequest) (*bridge.ReturnResponse, error) {
	s, err := b.of(ctx)
	if err != nil {
		return nil, err
	}
	b.client.mu.Lock()
	r := returned{options: s.options}
	b.client.mu.Unlock()
	switch {
	case req.Error != nil:
		r.err = status.ErrorProto(req.Error)
	case req.Result.GetRef().GetId() == "":
		r.nothing = true
	case req.Result.GetRef().GetId() != result:
		r.err = failed(admission.CheckKitFrontend("another", false))
	}
	select {
	case s.back <- r:
	default: // it has returned already
	}
	return &bridge.ReturnResponse{}, nil
}

// Warn takes the client's advice for what it is.
func (*bridged) Warn(context.Context, *bridge.WarnRequest) (*bridge.WarnResponse, error) {
	return &bridge.WarnResponse{}, nil
}
