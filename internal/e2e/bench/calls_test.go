package bench_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// addedTarget is how much longer a call may take through ds01.
const addedTarget = 150 * time.Microsecond

// A timedCall returns how long the part of a call took that counts.
type timedCall func() (time.Duration, error)

// pairs times one call through ds01 and at the engine, each going first in
// every other pair. The first warmUp pairs don't count.
func pairs(b *testing.B, n, warmUp int, ours, engine timedCall) (mine, theirs []time.Duration) {
	b.Helper()
	timed := func(call timedCall) time.Duration {
		took, err := call()
		if err != nil {
			b.Fatal(err)
		}
		return took
	}
	for i := range n + warmUp {
		var m, t time.Duration
		if i%2 == 0 {
			m, t = timed(ours), timed(engine)
		} else {
			t, m = timed(engine), timed(ours)
		}
		if i >= warmUp {
			mine, theirs = append(mine, m), append(theirs, t)
		}
	}
	return mine, theirs
}

// calls adds a row about a call, and says what a proxy adds that looks at nothing.
func calls(b *testing.B, what string, n int, ours, engine, bare timedCall) {
	b.Helper()
	say(what)
	mine, theirs := pairs(b, n, 10, ours, engine)
	hops, without := pairs(b, n, 10, bare, engine)
	added, hop := quantile(mine, 0.5)-quantile(theirs, 0.5), quantile(hops, 0.5)-quantile(without, 0.5)
	results = append(results, row{
		what, p50p99(mine), p50p99(theirs), "p50 " + signed(added) + "; a bare proxy " + signed(hop), "p50 +" + short(addedTarget) + " or less", added <= addedTarget,
	})
}

func signed(d time.Duration) string {
	if d < 0 {
		return "-" + short(-d)
	}
	return "+" + short(d)
}

// asked times one request, and decodes its answer.
func asked(c *http.Client, method, path, body string, answer any) (time.Duration, error) {
	began := time.Now()
	data, err := ask(c, method, path, body)
	took := time.Since(began)
	if err != nil || answer == nil {
		return took, err
	}
	return took, json.Unmarshal(data, answer)
}

func inspect(c *http.Client, name string) timedCall {
	return func() (time.Duration, error) { return asked(c, http.MethodGet, "/containers/"+name+"/json", "", nil) }
}

// create makes a container, and removes it when the time is taken.
func create(c *http.Client) timedCall {
	return func() (time.Duration, error) {
		var made struct{ ID string }
		took, err := asked(c, http.MethodPost, "/containers/create", `{"Image":"busybox","Cmd":["true"]}`, &made)
		if err != nil {
			return 0, err
		}
		_, err = ask(c, http.MethodDelete, "/containers/"+made.ID, "")
		return took, err
	}
}

func execute(c *http.Client, name string) timedCall {
	return func() (time.Duration, error) {
		var made struct{ ID string }
		first, err := asked(c, http.MethodPost, "/containers/"+name+"/exec", `{"Cmd":["true"]}`, &made)
		if err != nil {
			return 0, err
		}
		second, err := asked(c, http.MethodPost, "/exec/"+made.ID+"/start", `{"Detach":true}`, nil)
		for run := (struct{ Running bool }{true}); run.Running && err == nil; { // the next one starts when this one is over
			_, err = asked(c, http.MethodGet, "/exec/"+made.ID+"/json", "", &run)
		}
		return first + second, err
	}
}

// copied is how much a copy takes along, in bytes.
const copied = 1 << 30

// copies adds a row about a copy.
func copies(b *testing.B, what string, ours, engine timedCall) {
	b.Helper()
	say(what)
	mine, theirs := pairs(b, 6, 2, ours, engine)
	speed := quantile(paired(theirs, mine), 0.5)
	results = append(results, row{what, rate(mine), rate(theirs), fmt.Sprintf("%.2f of the speed", speed), "≥ 0.8", speed >= 0.8})
}

func rate(took []time.Duration) string {
	return fmt.Sprintf("%.0f MiB/s", copied/(1<<20)/quantile(took, 0.5).Seconds())
}

// copyIn writes a file into a container, as docker cp does.
func copyIn(c *http.Client, name string) timedCall {
	return func() (time.Duration, error) {
		var head, end bytes.Buffer
		if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "big", Mode: 0o644, Size: copied, Typeflag: tar.TypeReg}); err != nil {
			return 0, err
		}
		if err := tar.NewWriter(&end).Close(); err != nil {
			return 0, err
		}
		body := io.MultiReader(&head, io.LimitReader(zeros{}, copied), &end)
		return archive(c, http.MethodPut, "/containers/"+name+"/archive?path=/", body)
	}
}

// copyOut reads what copyIn has written.
func copyOut(c *http.Client, name string) timedCall {
	return func() (time.Duration, error) {
		return archive(c, http.MethodGet, "/containers/"+name+"/archive?path=/big", http.NoBody)
	}
}

// archive times one copy to its end.
func archive(c *http.Client, method, path string, body io.Reader) (time.Duration, error) {
	req, err := http.NewRequest(method, "http://docker"+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-tar")
	began := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, err := io.ReadAll(resp.Body)
		return 0, fmt.Errorf("%s %s: %s: %s %w", method, path, resp.Status, said, err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	took := time.Since(began)
	if err == nil && method == http.MethodGet && n < copied {
		err = fmt.Errorf("%s %s: cut off after %d bytes", method, path, n)
	}
	return took, err
}

// zeros are as many as one reads.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
