package buildkit_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/docker/buildkit"
	"ds01.dev/ds01/internal/problem"
)

func TestASessionIsItsPersons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
		b := buildkit.New(nil, time.Now, nil, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		hold := func() (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		for range 128 {
			go b.Session(ctx, 1, nil, hold)
		}
		synctest.Wait()
		if err := b.Session(ctx, 1, nil, hold); !errors.Is(err, problem.ErrLimit) {
			t.Errorf("one more: %v", err)
		}
		cancel()
		synctest.Wait()
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
