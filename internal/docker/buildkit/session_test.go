package buildkit_test

import (
	"bufio"
	"bytes"
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

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/secrets"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/docker/buildkit"
	"ds01.dev/ds01/internal/problem"
)

func TestASessionIsItsPersons(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := buildkit.New(nil, time.Now, nil, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() {
			served <- b.Session(ctx, 1, http.Header{"X-Docker-Expose-Session-Uuid": {"s1"}}, func() (net.Conn, error) { return ours, nil })
		}()
		if err := b.Person(t.Context(), 1, "s1"); err != nil {
			t.Errorf("its own person hasn't got it: %v", err)
		}
		for name, c := range map[string]struct {
			uid int
			id  string
		}{"another person": {2, "s1"}, "another session": {1, "s2"}, "none": {1, ""}, "with a prefix": {2, "x:s1"}} {
			if err := b.Person(t.Context(), c.uid, c.id); !errors.Is(err, problem.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		theirs.Close()
	})
}

func TestSessionsHaveABound(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := buildkit.New(nil, time.Now, nil, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		hold := func() (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		for range 128 {
			go b.Session(ctx, 1, nil, hold)
		}
		bubble.Wait()
		if err := b.Session(ctx, 1, nil, hold); !errors.Is(err, problem.ErrLimit) {
			t.Errorf("one more: %v", err)
		}
		cancel()
		bubble.Wait()
		if err := b.Session(ctx, 1, nil, hold); !errors.Is(err, context.Canceled) {
			t.Errorf("when they have ended: %v", err)
		}
	})
}

// Logins are a client's, by what BuildKit calls the registry.
type logins struct {
	auth.UnimplementedAuthServer

	at map[string]*auth.CredentialsResponse
}

func (l logins) Register(s *grpc.Server) { auth.RegisterAuthServer(s, l) }

func (l logins) Credentials(_ context.Context, ask *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	if said := l.at[ask.Host]; said != nil {
		return said, nil
	}
	return nil, errors.New("the helper is gone")
}

func TestALoginIsTheClients(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := buildkit.New(nil, time.Now, nil, slog.New(slog.DiscardHandler))
	s, err := session.NewSession(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Allow(logins{at: map[string]*auth.CredentialsResponse{
		"registry-1.docker.io": {Username: "alice", Secret: "rabbit"}, "reg:5000": {Secret: "token"}, "open": {},
	}})
	ours, theirs := net.Pipe()
	var served sync.WaitGroup
	served.Go(func() {
		err := s.Run(ctx, func(_ context.Context, _ string, meta map[string][]string) (net.Conn, error) {
			served.Go(func() { b.Session(ctx, 1, meta, func() (net.Conn, error) { return ours, nil }) })
			return theirs, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	for host, want := range map[string]admission.Credentials{
		"docker.io": {Username: "alice", Password: "rabbit", ServerAddress: "docker.io"}, "reg:5000": {IdentityToken: "token", ServerAddress: "reg:5000"}, "open": {},
	} {
		if got, err := b.Login(t.Context(), 1, s.ID(), host); got != want || err != nil {
			t.Errorf("%s: %+v, %v", host, got, err)
		}
	}
	if _, err := b.Login(t.Context(), 1, s.ID(), "broken"); err == nil || !strings.Contains(err.Error(), "login at broken: the helper is gone") {
		t.Errorf("got %v", err)
	}
	cancel()
	served.Wait()
}

// A secretary has one secret, and says of others that they aren't there.
type secretary struct {
	secrets.UnimplementedSecretsServer
}

func (s secretary) Register(server *grpc.Server) { secrets.RegisterSecretsServer(server, s) }

func (secretary) GetSecret(_ context.Context, ask *secrets.GetSecretRequest) (*secrets.GetSecretResponse, error) {
	if ask.ID != "key" {
		return nil, status.Error(codes.NotFound, "there is no "+ask.ID)
	}
	return &secrets.GetSecretResponse{Data: bytes.Repeat([]byte("rabbit"), 1<<20)}, nil
}

func TestWhatAPersonsSessionAnswersIsHandedOnAsItIs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	engine, theirs := net.Pipe() // ds01's session at the engine
	b := buildkit.New(func(context.Context) (net.Conn, error) { return theirs, nil }, time.Now, nil, slog.New(slog.DiscardHandler))
	s, err := session.NewSession(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Allow(secretary{})
	ours, client := net.Pipe()
	var served sync.WaitGroup
	served.Go(func() {
		_ = s.Run(ctx, func(_ context.Context, _ string, meta map[string][]string) (net.Conn, error) {
			served.Go(func() { b.Session(ctx, 1, meta, func() (net.Conn, error) { return ours, nil }) })
			return client, nil
		})
	})
	lent := make(chan error, 1)
	go func() { lent <- b.Lend(ctx, 1, s.ID()) }()
	request, err := http.ReadRequest(bufio.NewReader(engine))
	if err != nil || request.Header.Get("X-Docker-Expose-Session-Uuid") != "ours" ||
		!slices.Contains(request.Header.Values("X-Docker-Expose-Session-Grpc-Method"), "/moby.buildkit.secrets.v1.Secrets/GetSecret") {
		t.Fatalf("the engine is told %+v, %v", request, err)
	}
	if _, err := engine.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)), grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return engine, nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asks := secrets.NewSecretsClient(conn)
	for range 2 { // what is handed on is freed once
		if got, err := asks.GetSecret(ctx, &secrets.GetSecretRequest{ID: "key"}); err != nil || len(got.Data) != 6<<20 || !bytes.HasSuffix(got.Data, []byte("rabbit")) {
			t.Errorf("it answers %d bytes, %v", len(got.GetData()), err)
		}
	}
	if _, err := asks.GetSecret(ctx, &secrets.GetSecretRequest{ID: "other"}); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "there is no other") {
		t.Errorf("it answers %v", err)
	}
	cancel()
	if err := <-lent; err != nil {
		t.Error(err)
	}
	served.Wait()
}
