package bench_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// addedTarget is how much longer a call may take through ds01.
const addedTarget = 150 * time.Microsecond

// calls times one call through ds01 and at the engine, turn about. A call
// returns how long the part of it took that counts.
func calls(b *testing.B, what string, n int, ours, engine func() (time.Duration, error)) {
	b.Helper()
	say(what)
	timed := func(call func() (time.Duration, error)) time.Duration {
		took, err := call()
		if err != nil {
			b.Fatal(err)
		}
		return took
	}
	var mine, theirs []time.Duration
	for i := range n + 10 {
		m, t := timed(ours), timed(engine)
		if i >= 10 { // the first ones warm up
			mine, theirs = append(mine, m), append(theirs, t)
		}
	}
	added := quantile(mine, 0.5) - quantile(theirs, 0.5)
	results = append(results, row{
		what, p50p99(mine), p50p99(theirs), "p50 +" + short(added), "p50 +" + short(addedTarget) + " or less", added <= addedTarget,
	})
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

func inspect(c *http.Client, name string) func() (time.Duration, error) {
	return func() (time.Duration, error) { return asked(c, http.MethodGet, "/containers/"+name+"/json", "", nil) }
}

// create makes a container, and removes it when the time is taken.
func create(c *http.Client) func() (time.Duration, error) {
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

func execute(c *http.Client, name string) func() (time.Duration, error) {
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
