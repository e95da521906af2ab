package buildkit_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"ds01.dev/ds01/internal/docker/buildkit"
	"ds01.dev/ds01/internal/problem"
)

func TestASessionIsItsPersons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := buildkit.New(nil, time.Now, slog.New(slog.DiscardHandler))
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
		b := buildkit.New(nil, time.Now, slog.New(slog.DiscardHandler))
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
