package crash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/redteam"
)

// A crowd is people who ask for GPUs all at once, each in several ways: by
// requests like those of docker create and start, by stock docker, and from
// the queue.
type crowd struct {
	t      *testing.T
	l      *lab.Lab
	people []string
	asked  int // asks of each person by request
	run    int // by docker run
	waits  int // by ds01, with --wait

	mu      sync.Mutex
	granted []granted
	served  int      // of those who wait
	refused int      // in words that are fine
	odd     []string // answers that nobody should get
}

// each is how many devices one person may have here.
const each = 3

// wants are what people ask for, in turn.
var wants = []string{
	`"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]`,
	`"Devices":[{"PathOnHost":"ds01.io/gpu=1g.10gb","PathInContainer":"","CgroupPermissions":""}]`,
	`"DeviceRequests":[{"Count":2,"Capabilities":[["gpu"]]}]`,
	`"Devices":[{"PathOnHost":"ds01.io/gpu=full","PathInContainer":"","CgroupPermissions":""}]`,
}

// TestACrowdAtOnceIsGrantedWhatThereIs: many times more are asked for than the
// host has, whole cards and MIG instances. No device has two owners, at any
// time, nobody is over their limit, refusals are clear, those who wait are
// served, and nothing is left behind.
func TestACrowdAtOnceIsGrantedWhatThereIs(t *testing.T) {
	seven := "[" + strings.Repeat("1g.10gb, ", 6) + "1g.10gb]"
	c := crowd{t: t, asked: 4, run: 1, waits: 1}
	size, gpus := 10, "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb], mig: {1: "+seven+"}}}"
	if lab.Long() {
		c.asked, c.run, c.waits = 7, 2, 1
		size, gpus = 50, "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb, a100-80gb, a100-80gb, a100-80gb], mig: {2: "+seven+", 3: "+seven+", 4: "+seven+"}}}"
	}
	for i := range size {
		c.people = append(c.people, fmt.Sprintf("u%d", i))
	}
	c.l = start(t, lab.Options{GPU: gpus, Users: c.people, Limits: strings.Replace(roomy, "max_mig_instances: null", fmt.Sprintf("max_mig_instances: %d, max_gpus_per_container: 2, allow_full_gpu: true", each), 1)})
	plain, waiting, looks := c.rush()
	plain.Wait()
	c.sound()
	c.mu.Lock()
	all := slices.Clone(c.granted)
	c.mu.Unlock()
	removeAll(t, c.l, all)
	waiting.Wait()
	looks.Wait()
	t.Logf("of %d asks %d were granted at once, %d in turn, %d refused", size*(c.asked+c.run+c.waits), len(c.granted), c.served, c.refused)
	for _, what := range c.odd {
		t.Error(what)
	}
	if c.served == 0 || c.refused == 0 {
		t.Errorf("%d were served in turn, %d refused", c.served, c.refused)
	}
	lab.Clean(t, c.l)
	if left := c.l.OK("root", c.l.Binary(), "gpu", "queue", "list", "--json"); left != "[]" {
		t.Errorf("left in the queue: %s", left)
	}
}

// rush lets everybody ask at once and returns who isn't done yet: those who
// take what there is, those who wait, and who looks all the while at who holds
// what.
func (c *crowd) rush() (plain, waiting, looks *sync.WaitGroup) {
	plain, waiting, looks = &sync.WaitGroup{}, &sync.WaitGroup{}, &sync.WaitGroup{}
	gun, over := make(chan struct{}), make(chan struct{})
	for _, who := range c.people {
		for i := range c.asked {
			plain.Go(func() { <-gun; c.ask(who, wants[i%len(wants)]) })
		}
		for range c.run {
			plain.Go(func() {
				<-gun
				c.answered(who, c.l.Docker(who, "run", "-d", "--network", "none", "--gpus", "1", "busybox", "sleep", "1000"))
			})
		}
		for i := range c.waits {
			waiting.Go(func() { <-gun; c.wait(who, fmt.Sprint("w", i)) })
		}
	}
	looks.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(200 * time.Millisecond):
				c.sound()
			}
		}
	})
	go func() { waiting.Wait(); close(over) }()
	close(gun)
	return plain, waiting, looks
}

// ask makes and starts a container as docker run does, without a process of
// its own.
func (c *crowd) ask(who, want string) {
	person := c.l.Person(who)
	status, answer := c.post(person, "/containers/create", `{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{"NetworkMode":"none",`+want+`}}`)
	var made struct {
		ID      string `json:"Id"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal([]byte(answer), &made); err != nil {
		made.Message = answer
	}
	if status == http.StatusCreated {
		if status, answer = c.post(person, "/containers/"+made.ID+"/start", ""); status != http.StatusNoContent {
			made.Message = fmt.Sprintf("not started, %d: %s", status, answer)
		}
	}
	r := lab.Result{Out: made.ID, Err: made.Message}
	if made.Message != "" {
		r.Code = 1
	}
	c.answered(who, r)
}

func (c *crowd) post(who redteam.Person, path, body string) (status int, answer string) {
	client := http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return who.Dial(ctx, c.l.GatewaySocket())
	}}}
	defer client.CloseIdleConnections()
	r, err := client.Post("http://docker/v1.41"+path, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(data)
}

// wait gets a GPU in turn, and gives it back.
func (c *crowd) wait(who, name string) {
	r := c.l.DS01(who, "container", "deploy", name, "--image", "busybox", "--gpus", "1", "--wait", "--background")
	if r.Code != 0 {
		r.Out = ""
		c.answered(who, r)
		return
	}
	c.mu.Lock()
	c.served++
	c.mu.Unlock()
	removeAll(c.t, c.l, []granted{{who, name}})
}

// answered notes what came of an ask. A refusal says what there is, whose turn
// it is or which limit is reached, and what to do.
func (c *crowd) answered(who string, r lab.Result) {
	plain := slices.ContainsFunc([]string{"free now: ", "you would be number ", "others wait for", fmt.Sprintf("max_mig_instances is %d (defaults", each)}, func(s string) bool {
		return strings.Contains(r.Err, s)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.Code == 0:
		c.granted = append(c.granted, granted{who, r.Out})
	case plain && strings.Contains(r.Err, "GPU not granted") && (strings.Contains(r.Err, "ds01 ") || strings.Contains(r.Err, "container ")):
		c.refused++
	default:
		c.odd = append(c.odd, "an unclear answer: "+r.Err)
	}
}

// sound asks the engine who may open what: nobody opens another's device, or
// more than their limit.
func (c *crowd) sound() {
	engine, count := map[string]lab.Container{}, map[string]int{}
	for _, made := range c.l.EngineContainers() {
		engine[made.ID] = made
		count[made.Config.Labels["aime.mlc.DS01_UID"]] += len(made.Slots())
	}
	wrong := lab.SharedDevices(engine)
	for uid, n := range count {
		if n > each || uid == "" {
			wrong = append(wrong, fmt.Sprintf("%q has %d devices", uid, n))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.odd = append(c.odd, wrong...)
}
