package bench_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

func gateway(l *lab.Lab) string { return "unix://" + filepath.Join(l.Root, "run/docker.sock") }

// newClient returns a client that keeps its connections, as a user.
func newClient(host string, uid int) *http.Client {
	path := strings.TrimPrefix(host, "unix://")
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 8,
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dialAs(ctx, path, uid) },
	}}
}

// dialAs connects as a user: the kernel remembers the effective user id of
// the thread that connects.
func dialAs(ctx context.Context, path string, uid int) (net.Conn, error) {
	runtime.LockOSThread()
	if err := setEffective(uid); err != nil {
		return nil, err // and the locked thread ends with its goroutine
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if back := setEffective(0); back != nil {
		return nil, back
	}
	runtime.UnlockOSThread()
	return conn, err
}

// setEffective changes this thread only, which unix.Setresuid would not.
func setEffective(uid int) error {
	same := ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same); errno != 0 {
		return fmt.Errorf("become user %d: %w", uid, errno)
	}
	return nil
}

func ask(c *http.Client, method, path, body string) ([]byte, error) {
	req, err := http.NewRequest(method, "http://docker"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	return data, err
}

// lists times the list through ds01 and the engine's own, turn about, on
// connections that stay open; and through a proxy that looks at nothing, if there is one.
func lists(b *testing.B, what string, target float64, n int, ours, engine, bare *http.Client, expectOurs, expectEngine int) {
	b.Helper()
	say(what)
	list := func(c *http.Client, expect int) timedCall {
		return func() (time.Duration, error) {
			var rows []struct{}
			took, err := asked(c, http.MethodGet, "/containers/json", "", &rows)
			if err == nil && len(rows) != expect {
				err = fmt.Errorf("%d containers listed, not %d", len(rows), expect)
			}
			return took, err
		}
	}
	mine, theirs := pairs(b, n, 10, list(ours, expectOurs), list(engine, expectEngine))
	ratio := float64(quantile(mine, 0.5)) / float64(quantile(theirs, 0.5))
	tail := float64(quantile(mine, 0.99)) / float64(quantile(theirs, 0.99))
	said := fmt.Sprintf("p50 %.2f, p99 %.2f", ratio, tail)
	if bare != nil {
		hops, without := pairs(b, n, 10, list(bare, expectEngine), list(engine, expectEngine))
		said += fmt.Sprintf("; a bare proxy p50 %.2f", float64(quantile(hops, 0.5))/float64(quantile(without, 0.5)))
	}
	results = append(results, row{
		what, p50p99(mine), p50p99(theirs), said,
		fmt.Sprintf("p50 ≤ %g", target), ratio <= target,
	})
}

// crowd starts n containers that do nothing.
func crowd(b *testing.B, c *http.Client, prefix string, n int) {
	b.Helper()
	say(fmt.Sprintf("starting %d containers", n))
	var g errgroup.Group
	g.SetLimit(4)
	for i := range n {
		g.Go(func() error {
			name := fmt.Sprintf("%s%d", prefix, i)
			if _, err := ask(c, http.MethodPost, "/containers/create?name="+name, `{"Image":"busybox","Cmd":["sleep","100000"]}`); err != nil {
				return err
			}
			_, err := ask(c, http.MethodPost, "/containers/"+name+"/start", "")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
