package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// Sessions are the other way round: the client serves, and whoever builds asks
// it for files, secrets, logins and keys.

// maxSessions is how many sessions a person may have open; a build takes one.
const maxSessions = 64

// sessionWait is how long a build waits for its session, which the client opens
// beside it.
const sessionWait = 5 * time.Second

// sessions are one person's.
type sessions struct {
	*session.Manager
	users int // connections and builds
}

// hold returns a person's sessions until release.
func (b *Builder) hold(uid int) (s *sessions, release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s = b.sessions[uid]; s == nil {
		manager, err := session.NewManager()
		if err != nil {
			return nil, nil, fmt.Errorf("keep sessions: %w", err)
		}
		s = &sessions{Manager: manager}
		b.sessions[uid] = s
	}
	if s.users >= 2*maxSessions {
		return nil, nil, &problem.Error{
			What: notBuilt, Why: problem.Because(problem.ErrLimit, fmt.Sprintf("you have %d sessions and builds open", s.users)),
			Next: "Wait for some of them to end, or end them.",
		}
	}
	s.users++
	return s, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(b.sessions, uid)
		}
	}, nil
}

// Session serves a client's session until it or ctx ends. accept takes the
// connection over once there is room for it.
func (b *Builder) Session(ctx context.Context, uid int, header http.Header, accept func() (net.Conn, error)) error {
	s, release, err := b.hold(uid)
	if err != nil {
		return err
	}
	defer release()
	conn, err := accept()
	if err != nil {
		return err
	}
	return s.HandleConn(ctx, conn, header)
}

// person returns a session of the person's; other people's don't exist.
func (b *Builder) person(ctx context.Context, uid int, id string) (session.Caller, func(), error) {
	s, release, err := b.hold(uid)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sessionWait)
	defer cancel()
	caller, err := s.Get(ctx, id, false)
	if err != nil {
		release()
		return nil, nil, &problem.Error{
			What: notBuilt, Why: problem.Because(problem.ErrInvalid, "the client has opened no session for it"), Next: "Build again.",
		}
	}
	return caller, release, nil
}

// Await waits a moment for a session of the person's. A client that is refused
// while it opens one hangs for seconds.
func (b *Builder) Await(ctx context.Context, uid int, id string) {
	ctx, cancel := context.WithTimeout(ctx, sessionWait/10)
	defer cancel()
	if _, release, err := b.person(ctx, uid, id); err == nil {
		release()
	}
}

// methods are what the engine may ask a person's client.
func methods() map[string][]string {
	return map[string][]string{
		"moby.filesync.v1.FileSync":        {"DiffCopy", "TarStream"},
		"moby.filesync.v1.FileSend":        {"DiffCopy"},
		"moby.filesync.v1.Auth":            {"Credentials", "FetchToken", "GetTokenAuthority", "VerifyTokenAuthority"},
		"moby.buildkit.secrets.v1.Secrets": {"GetSecret"},
		"moby.sshforward.v1.SSH":           {"CheckAgent", "ForwardAgent"},
	}
}

// relay lets a server answer what the person's session does.
func (b *Builder) relay(server *grpc.Server, person session.Caller, uid int) {
	for name, calls := range methods() {
		d := grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil)}
		for _, call := range calls {
			if method := session.MethodURL(name, call); person.Supports(method) {
				d.Streams = append(d.Streams, grpc.StreamDesc{
					StreamName: call, Handler: b.pipe(person.Conn(), method, uid), ServerStreams: true, ClientStreams: true,
				})
			}
		}
		if len(d.Streams) > 0 {
			server.RegisterService(&d, nil)
		}
	}
}

// login asks the person's client for its login at a registry, as BuildKit does.
func (r *build) login(ctx context.Context, host string) (admission.Credentials, error) {
	if !r.person.Supports(session.MethodURL(auth.Auth_ServiceDesc.ServiceName, "Credentials")) {
		return admission.Credentials{}, nil
	}
	ask := host
	if host == "docker.io" {
		ask = "registry-1.docker.io" // as BuildKit calls it
	}
	said, err := auth.NewAuthClient(r.person.Conn()).Credentials(ctx, &auth.CredentialsRequest{Host: ask})
	switch {
	case err != nil:
		return admission.Credentials{}, &problem.Error{
			What: notBuilt, Why: problem.Because(problem.ErrInvalid, "the client can't tell its login at "+host+": "+status.Convert(err).Message()),
			Next: "Try docker login " + host + ".",
		}
	case said.Secret == "":
		return admission.Credentials{}, nil
	case said.Username == "": // so clients say that it is a token
		return admission.Credentials{IdentityToken: said.Secret, ServerAddress: host}, nil
	}
	return admission.Credentials{Username: said.Username, Password: said.Secret, ServerAddress: host}, nil
}

// pipe hands a call on, message by message, as they are.
func (b *Builder) pipe(to *grpc.ClientConn, method string, uid int) grpc.StreamHandler {
	return func(_ any, from grpc.ServerStream) error {
		return guard(b.log, func() error { return b.handOn(to, from, method, uid) })
	}
}

func (b *Builder) handOn(to *grpc.ClientConn, from grpc.ServerStream, method string, uid int) error {
	ctx, cancel := context.WithCancel(from.Context())
	defer cancel()
	up, err := to.NewStream(outgoing(ctx, uid), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodecV2(asTheyAre()))
	if err != nil {
		return err
	}
	go func() { // ends with the call
		if guard(b.log, func() error { return copyMessages(up, from) }) == nil {
			_ = up.CloseSend() // the answer says what is wrong
		}
	}()
	if err := copyMessages(from, up); err != nil {
		return err
	}
	from.SetTrailer(up.Trailer())
	return nil
}

func outgoing(ctx context.Context, uid int) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	md = md.Copy()
	for _, own := range []string{":authority", "content-type", "user-agent"} {
		delete(md, own)
	}
	for i, name := range md["dir-name"] {
		md["dir-name"][i] = strings.TrimPrefix(name, localOf(uid))
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// messages are one end of a call.
type messages interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

func copyMessages(to, from messages) error {
	for {
		m := new(passage)
		if err := from.RecvMsg(m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := to.SendMsg(m); err != nil {
			return err
		}
	}
}
