package buildkit

import (
	"context"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"ds01.dev/ds01/internal/admission"
)

// guard does what it is given, and makes an error of a panic: what one client
// sends mustn't end the daemon, through which everybody's containers go. Each
// goroutine needs its own.
func guard(log *slog.Logger, do func() error) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			log.Error("a build broke", "panic", broken, "stack", string(debug.Stack()))
			err = admission.BrokenBuild()
		}
	}()
	return do()
}

// guarded are the options of a server whose clients end nothing but their own
// calls, whatever they send: it is read behind a guard, too.
func guarded(log *slog.Logger) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
			err = answered(guard(log, func() error {
				resp, err = handle(ctx, req)
				return err
			}))
			return resp, err
		}),
		grpc.StreamInterceptor(func(server any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return answered(guard(log, func() error { return handle(server, s) }))
		}),
		grpc.ForceServerCodecV2(guardedCodec{encoding.GetCodecV2(grpcproto.Name), log}),
	}
}

// guardedCodec reads messages. gRPC does so before and between interceptors.
type guardedCodec struct {
	encoding.CodecV2

	log *slog.Logger
}

func (c guardedCodec) Unmarshal(data mem.BufferSlice, message any) error {
	return guard(c.log, func() error { return c.CodecV2.Unmarshal(data, message) })
}
