package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
)

// How the engine is told of a session.
const (
	sessionID     = "X-Docker-Expose-Session-Uuid"
	sessionKey    = "X-Docker-Expose-Session-Sharedkey"
	sessionMethod = "X-Docker-Expose-Session-Grpc-Method"
)

// maxMessage is how long a message of a session may be, as BuildKit has it.
const maxMessage = 16 << 20

// lend opens a session of ds01's own at the engine, which answers what the
// person's does, until ctx ends. BuildKit's library would serve it by net/http and
// decode each message: a large context then takes the daemon twice the time.
func (b *Builder) lend(ctx context.Context, id, key string, person session.Caller, uid int) error {
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(asTheyAre()), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor), // errors keep their details
	)
	defer server.Stop()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	b.relay(server, person, uid) //nolint:contextcheck // each call has its own
	meta := map[string][]string{sessionID: {id}, sessionKey: {key}}
	for name, service := range server.GetServiceInfo() {
		for _, m := range service.Methods {
			meta[sessionMethod] = append(meta[sessionMethod], session.MethodURL(name, m.Name))
		}
	}
	conn, err := b.upgrade(ctx, "/session", meta)
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	one := &oneConnection{Conn: conn, over: make(chan struct{})}
	defer context.AfterFunc(ctx, func() { _ = one.Close() })() // it returns nil, or has been closed
	if err := server.Serve(one); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve a session: %w", err)
	}
	return nil
}

// A passage is a message that is handed on as it is.
type passage struct{ data mem.BufferSlice }

// passing reads and writes passages without looking into them, and other messages
// as gRPC does.
type passing struct{ encoding.CodecV2 }

func asTheyAre() passing { return passing{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal gives a passage away: who sends it frees it.
func (c passing) Marshal(message any) (mem.BufferSlice, error) {
	if p, ok := message.(*passage); ok {
		return p.data, nil
	}
	return c.CodecV2.Marshal(message)
}

// Unmarshal keeps a passage beyond the call, whose own hold ends with it.
func (c passing) Unmarshal(data mem.BufferSlice, message any) error {
	if p, ok := message.(*passage); ok {
		data.Ref()
		p.data = slices.Clone(data)
		return nil
	}
	return c.CodecV2.Unmarshal(data, message)
}
