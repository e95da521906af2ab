// Package dockertest is a Docker engine in memory, for tests of those who
// work with one. It knows containers and their life, runs no program, and can
// be told to fail. A contract suite holds it to what the real engine does.
package dockertest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
)

// Engine is one engine in memory. It is safe for concurrent use.
type Engine struct {
	now func() time.Time

	mu         sync.Mutex
	made       int
	images     map[string]container.Image // by id
	containers map[string]*state          // by id
	watchers   map[chan container.Event]bool
	faults     map[string]fault         // by method name
	delays     map[string]time.Duration // by container id
	calls      []string
	volumes    map[string]map[string]string // labels by name
	networks   map[string]network.Observed  // by id
	down       bool
}

type state struct {
	container.Observed
	body  Body
	host  map[string]any // HostConfig as it is stored
	files map[string]container.File
}

// A Body is what the engine keeps of a create request.
type Body struct {
	Image      string
	User       string
	Labels     map[string]string
	Volumes    map[string]struct{}
	HostConfig struct {
		AutoRemove    bool
		CgroupParent  string
		Runtime       string
		RestartPolicy struct {
			Name              string
			MaximumRetryCount int
		}
		Memory       int64
		UsernsMode   string
		NetworkMode  string
		Links        []string
		Mounts       []BodyMount
		PortBindings map[string][]struct {
			HostIP   string `json:"HostIp"`
			HostPort string
		}
	}
	NetworkingConfig struct {
		EndpointsConfig map[string]struct{ Aliases, Links []string }
	}
}

// A BodyMount is one mount of a create request.
type BodyMount struct {
	Type, Source, Target string
	ReadOnly             bool
}

type fault struct {
	err  error
	done bool
}

// New returns an engine with the image busybox, whose clock is now.
func New(now func() time.Time) *Engine {
	e := &Engine{
		now: now, images: map[string]container.Image{}, containers: map[string]*state{},
		watchers: map[chan container.Event]bool{}, faults: map[string]fault{}, delays: map[string]time.Duration{},
		volumes: map[string]map[string]string{}, networks: map[string]network.Observed{},
	}
	e.AddImage(container.Image{ID: "sha256:" + strings.Repeat("b", 64), Names: []string{"busybox:latest"}})
	return e
}

// Fail makes the next call of a method fail with err. With done the engine
// does what it was asked for and only the answer is lost.
func (e *Engine) Fail(method string, err error, done bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults[method] = fault{err, done}
}

// Delay makes answers about one container take their time to arrive; about "" it
// is the list of all.
func (e *Engine) Delay(id string, d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.delays[id] = d
}

// SetDown ends the engine, or brings it back. Its containers stay.
func (e *Engine) SetDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
	if down {
		for w := range e.watchers {
			close(w)
		}
		clear(e.watchers)
	}
}

// Exit ends a container's program with a code, as if by itself.
func (e *Engine) Exit(id string, code int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exit(e.containers[id], code)
}

// Hint sets what the configuration of a container says about GPUs.
func (e *Engine) Hint(id string, h gpu.Hints) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers[id].Hints = h
}

// Calls returns every call so far, as "Method argument".
func (e *Engine) Calls() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

// BodyOf returns what a container was created with.
func (e *Engine) BodyOf(id string) Body {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.containers[id].body
}

// call books a call, then runs do under the lock unless the engine was told
// to fail.
func (e *Engine) call(method, argument string, do func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, method+" "+argument)
	if e.down {
		return container.NotAsked(refuse(http.StatusServiceUnavailable, "the engine is down"))
	}
	f, failing := e.faults[method]
	delete(e.faults, method)
	if failing && !f.done {
		return f.err
	}
	if err := do(); err != nil {
		return err
	}
	return f.err
}

func refuse(status int, text string) error {
	message, err := json.Marshal(map[string]string{"message": text})
	if err != nil {
		return err
	}
	return docker.Refusal("the engine refused", status, message)
}

func (e *Engine) find(id string) (*state, error) {
	c := e.containers[id]
	for _, other := range e.containers {
		if c == nil && other.Name == id {
			c = other
		}
	}
	if c == nil {
		return nil, refuse(http.StatusNotFound, "No such container: "+id)
	}
	return c, nil
}

func (e *Engine) tell(id, action string) {
	event := container.Event{Kind: container.KindContainer, ID: id, Action: action}
	if c := e.containers[id]; c != nil {
		event.Claim = c.ClaimID()
	}
	e.send(event)
}

func (e *Engine) send(event container.Event) {
	for w := range e.watchers {
		w <- event
	}
}

// Create makes a container of a JSON body, as the engine does.
func (e *Engine) Create(_ context.Context, name, _ string, body []byte) (id string, warnings []string, err error) {
	err = e.call("Create", name, func() error {
		id, err = e.create(name, body)
		return err
	})
	if err != nil {
		return "", nil, err
	}
	return id, nil, nil
}

func (e *Engine) create(name string, body []byte) (string, error) {
	var b Body
	if err := json.Unmarshal(body, &b); err != nil {
		return "", refuse(http.StatusInternalServerError, err.Error())
	}
	image, err := e.findImage(b.Image)
	if err != nil {
		return "", err
	}
	if b.HostConfig.Memory > 0 && b.HostConfig.Memory < 6<<20 {
		return "", refuse(http.StatusBadRequest, "Minimum memory limit allowed is 6MB")
	}
	for _, c := range e.containers {
		if c.Name == name {
			return "", refuse(http.StatusConflict, "the name is already in use")
		}
	}
	e.made++
	id := fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, e.made))) // ids differ from their first letters on
	host, err := storedHost(body)
	if err != nil {
		return "", refuse(http.StatusInternalServerError, err.Error())
	}
	e.containers[id] = &state{
		host: host,
		Observed: container.Observed{
			ID: id, Name: name, Image: b.Image, ImageID: image.ID, State: "created", CreatedAt: e.now().UTC(), Labels: b.Labels,
			Group:   b.HostConfig.CgroupParent,
			Restart: container.RestartPolicy{Name: b.HostConfig.RestartPolicy.Name, MaxRetries: b.HostConfig.RestartPolicy.MaximumRetryCount},
		},
		body: b,
		files: map[string]container.File{
			"/etc/passwd": {Data: []byte("root:x:0:0:root:/root:/bin/sh\n")},
			"/etc/group":  {Data: []byte("root:x:0:\n")},
			"/bin/sh":     {}, "/etc": {Dir: true}, "/": {Dir: true},
		},
	}
	e.mountVolumes(e.containers[id])
	e.connect(e.containers[id])
	e.tell(id, "create")
	return id, nil
}

// noProcess is more than the kernel's largest process id.
const noProcess = 1 << 23

// Start starts a container; starting one that runs is no error.
func (e *Engine) Start(_ context.Context, id string) error {
	return e.call("Start", id, func() error {
		c, err := e.find(id)
		if err != nil || c.Running() {
			return err
		}
		if err := e.connected(c); err != nil {
			return err
		}
		c.State, c.StartedAt, c.PID = "running", e.now().UTC(), noProcess
		e.tell(c.ID, "start")
		return nil
	})
}

// Stop ends a container; ending one that doesn't run is no error.
func (e *Engine) Stop(_ context.Context, id string, _ time.Duration) error {
	return e.call("Stop", id, func() error {
		c, err := e.find(id)
		if err != nil || !c.Running() {
			return err
		}
		e.exit(c, 137)
		return nil
	})
}

func (e *Engine) exit(c *state, code int) {
	c.State, c.ExitCode, c.PID, c.FinishedAt = "exited", code, 0, e.now().UTC()
	e.tell(c.ID, "die")
	if c.body.HostConfig.AutoRemove {
		e.destroy(c)
	}
}

// Remove removes a container; one that runs only with force.
func (e *Engine) Remove(_ context.Context, id string, force bool) error {
	return e.call("Remove", id, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if c.Running() && !force {
			return refuse(http.StatusConflict, "You cannot remove a running container")
		}
		if c.Running() {
			e.exit(c, 137)
		}
		e.destroy(c)
		return nil
	})
}

// Inspect returns one container.
func (e *Engine) Inspect(ctx context.Context, id string) (o container.Observed, err error) {
	var delay time.Duration
	err = e.call("Inspect", id, func() error {
		delay = e.delays[id]
		c, err := e.find(id)
		if err == nil {
			o = c.Observed
			o.AutoRemove, o.AtStart = c.body.HostConfig.AutoRemove, c.body.HostConfig.Runtime == admission.AtStartRuntime
			for _, m := range c.body.HostConfig.Mounts {
				if m.Type != "volume" {
					o.Mounts = append(o.Mounts, container.Mounted{Source: m.Source, Target: m.Target})
				}
			}
			for _, v := range c.Volumes {
				o.Mounts = append(o.Mounts, container.Mounted{Source: v.Source, Target: v.Target})
			}
		}
		return err
	})
	return after(ctx, delay, o, err)
}

// after returns an answer that takes its time to arrive, unless nobody waits for it
// any more.
func after[T any](ctx context.Context, delay time.Duration, answer T, err error) (T, error) {
	select {
	case <-time.After(delay):
		return answer, err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// List returns all containers, by id.
func (e *Engine) List(ctx context.Context) (all []container.Observed, err error) {
	var delay time.Duration
	err = e.call("List", "", func() error {
		delay = e.delays[""]
		for _, id := range slices.Sorted(maps.Keys(e.containers)) {
			c := e.containers[id]
			all = append(all, container.Observed{ID: c.ID, Name: c.Name, Image: c.Image, ImageID: c.ImageID, State: c.State, Labels: c.Labels, CreatedAt: c.CreatedAt})
		}
		return nil
	})
	return after(ctx, delay, all, err)
}

// ByClaim returns the container that carries the claim in its label.
func (e *Engine) ByClaim(_ context.Context, claim string) (o container.Observed, err error) {
	err = e.call("ByClaim", claim, func() error {
		for _, c := range e.containers {
			if c.Labels[label.Claim] == claim {
				o = c.Observed
				return nil
			}
		}
		return refuse(http.StatusNotFound, "claim "+claim+" has no container")
	})
	return o, err
}
