package dockertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Subject is what the contract is about: the engine as ds01 uses it.
type Subject interface {
	Belongings
	Create(ctx context.Context, name, platform string, body []byte) (id string, warnings []string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, timeout time.Duration) error
	Remove(ctx context.Context, id string, force bool) error
	Inspect(ctx context.Context, id string) (container.Observed, error)
	Stored(ctx context.Context, id string) (container.Observed, []byte, error)
	Update(ctx context.Context, id string, body []byte) (warnings []string, err error)
	List(ctx context.Context) ([]container.Observed, error)
	ByClaim(ctx context.Context, claim string) (container.Observed, error)
	Image(ctx context.Context, reference string) (container.Image, error)
	Images(ctx context.Context) ([]container.Image, error)
	TagImage(ctx context.Context, id, name string) error
	RemoveImage(ctx context.Context, reference string, force bool) ([]container.Removed, error)
	ReadFile(ctx context.Context, id, name string) ([]byte, error)
	Size(ctx context.Context, id string) (quantity.ByteSize, error)
	Exists(ctx context.Context, id, name string) (bool, error)
	WriteFiles(ctx context.Context, id string, files []container.File) error
	Pause(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	Rename(ctx context.Context, id, name string) error
	Events(ctx context.Context, ready func(), changed func(container.Event)) error
}

const body = `{"Image":"busybox","Cmd":["sleep","1000"],"Labels":{%q:"claim-%s","x":"y"},"HostConfig":{"AutoRemove":%t}}`

// Run checks an engine that has the image busybox and no container called
// contract-….
func Run(t *testing.T, e Subject) {
	t.Helper()
	t.Run("a container's life", func(t *testing.T) { life(t, e) })
	t.Run("what is asked twice", func(t *testing.T) { twice(t, e) })
	t.Run("what isn't there", func(t *testing.T) { absent(t, e) })
	t.Run("what is wrong", func(t *testing.T) { wrong(t, e) })
	t.Run("what is stored", func(t *testing.T) { stored(t, e) })
	t.Run("pauses", func(t *testing.T) { pauses(t, e) })
	t.Run("names", func(t *testing.T) { names(t, e) })
	t.Run("files", func(t *testing.T) { files(t, e) })
	t.Run("volumes", func(t *testing.T) { volumes(t, e) })
	t.Run("networks", func(t *testing.T) { networks(t, e) })
	t.Run("images", func(t *testing.T) { images(t, e) })
	t.Run("events", func(t *testing.T) { watch(t, e) })
}

func create(t *testing.T, e Subject, name string, autoRemove bool) string {
	t.Helper()
	id, _, err := e.Create(t.Context(), "contract-"+name, "", fmt.Appendf(nil, body, label.Claim, name, autoRemove))
	must(t, err)
	if len(id) != 64 {
		t.Fatalf("id %q", id)
	}
	t.Cleanup(func() {
		if err := e.Remove(context.WithoutCancel(t.Context()), id, true); err != nil && !errors.Is(err, problem.ErrNotFound) {
			t.Error(err)
		}
	})
	return id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got %v, want one of kind %q", what, err, kind)
	}
}

// patience is for what an engine does in its own time.
const patience = 30 * time.Second

// within waits until ok, or fails the test with what.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func inspect(t *testing.T, e Subject, id string) container.Observed {
	t.Helper()
	o, err := e.Inspect(t.Context(), id)
	must(t, err)
	return o
}

func life(t *testing.T, e Subject) {
	t.Helper()
	id := create(t, e, "life", false)
	o := inspect(t, e, id)
	if o.ID != id || o.Name != "contract-life" || o.State != "created" || o.Running() || o.ClaimID() != "claim-life" || o.Labels["x"] != "y" ||
		o.Image != "busybox" || o.AutoRemove || o.CreatedAt.IsZero() || !o.StartedAt.IsZero() || !o.FinishedAt.IsZero() {
		t.Errorf("created: %+v", o)
	}
	must(t, e.Start(t.Context(), id))
	if o = inspect(t, e, id); !o.Running() || o.State != "running" || o.PID < 2 || o.StartedAt.Before(o.CreatedAt) || !o.FinishedAt.IsZero() {
		t.Errorf("running: %+v", o)
	}
	list, err := e.List(t.Context())
	must(t, err)
	if i := slices.IndexFunc(list, func(o container.Observed) bool { return o.ID == id }); i < 0 ||
		list[i].Name != o.Name || list[i].State != "running" || list[i].ClaimID() != "claim-life" {
		t.Errorf("listed: %+v", list)
	}
	if found, err := e.ByClaim(t.Context(), "claim-life"); err != nil || found.ID != id || found.State != "running" {
		t.Errorf("by claim: %+v, %v", found, err)
	}
	must(t, e.Stop(t.Context(), id, 0))
	if o = inspect(t, e, id); o.Running() || o.State != "exited" || o.ExitCode != 137 || o.PID != 0 || o.FinishedAt.Before(o.StartedAt) {
		t.Errorf("stopped: %+v", o)
	}
	must(t, e.Start(t.Context(), id))
	if again := inspect(t, e, id); !again.Running() || again.StartedAt.Before(o.FinishedAt) {
		t.Errorf("started again: %+v", again)
	}
	must(t, e.Remove(t.Context(), id, true))
	_, err = e.Inspect(t.Context(), id)
	wantKind(t, "inspect what was removed", err, problem.ErrNotFound)
}

func twice(t *testing.T, e Subject) {
	t.Helper()
	id := create(t, e, "twice", false)
	_, _, err := e.Create(t.Context(), "contract-twice", "", fmt.Appendf(nil, body, label.Claim, "other", false))
	wantKind(t, "create of the same name", err, problem.ErrConflict)
	must(t, e.Stop(t.Context(), id, 0))
	must(t, e.Start(t.Context(), id))
	must(t, e.Start(t.Context(), id))
	wantKind(t, "remove of what runs", e.Remove(t.Context(), id, false), problem.ErrConflict)
	must(t, e.Stop(t.Context(), id, 0))
	must(t, e.Stop(t.Context(), id, 0))
	must(t, e.Remove(t.Context(), id, false))
	wantKind(t, "remove again", e.Remove(t.Context(), id, true), problem.ErrNotFound)
}

func absent(t *testing.T, e Subject) {
	t.Helper()
	ctx := t.Context()
	_, err := e.Inspect(ctx, "contract-none")
	wantKind(t, "inspect", err, problem.ErrNotFound)
	_, _, err = e.Stored(ctx, "contract-none")
	wantKind(t, "stored", err, problem.ErrNotFound)
	_, err = e.Update(ctx, "contract-none", []byte(`{"Memory":16777216}`))
	wantKind(t, "update", err, problem.ErrNotFound)
	_, err = e.ByClaim(ctx, "contract-none")
	wantKind(t, "by claim", err, problem.ErrNotFound)
	_, err = e.Image(ctx, "contract-none")
	wantKind(t, "image", err, problem.ErrNotFound)
	_, _, err = e.Create(ctx, "contract-none", "", []byte(`{"Image":"contract-none"}`))
	wantKind(t, "create", err, problem.ErrNotFound)
	wantKind(t, "start", e.Start(ctx, "contract-none"), problem.ErrNotFound)
	wantKind(t, "stop", e.Stop(ctx, "contract-none", 0), problem.ErrNotFound)
	if i, err := e.Image(ctx, "busybox"); err != nil || !strings.HasPrefix(i.ID, "sha256:") || !slices.Contains(i.Names, "busybox:latest") {
		t.Errorf("busybox: %+v, %v", i, err)
	} else if same, err := e.Image(ctx, i.ID); err != nil || same.ID != i.ID {
		t.Errorf("by its id: %+v, %v", same, err)
	}
}

func wrong(t *testing.T, e Subject) {
	t.Helper()
	_, _, err := e.Create(t.Context(), "contract-wrong", "", []byte(`{"Image":"busybox","HostConfig":{"Memory":1000}}`))
	wantKind(t, "too little memory", err, problem.ErrInvalid)
	_, err = e.Inspect(t.Context(), "contract-wrong")
	wantKind(t, "inspect", err, problem.ErrNotFound)
}

func files(t *testing.T, e Subject) {
	t.Helper()
	ctx, id := t.Context(), create(t, e, "files", false)
	data, err := e.ReadFile(ctx, id, "/etc/passwd")
	if err != nil || !strings.HasPrefix(string(data), "root:x:0:0:") {
		t.Errorf("passwd: %q, %v", data, err)
	}
	for _, name := range []string{"/etc/none", "/etc"} {
		_, err = e.ReadFile(ctx, id, name)
		wantKind(t, name, err, problem.ErrNotFound)
	}
	small, err := e.Size(ctx, id)
	must(t, err)
	must(t, e.WriteFiles(ctx, id, []container.File{
		{Path: "/big", Data: make([]byte, 1<<20), Mode: 0o644},
		{Path: "/etc/passwd", Data: []byte("alice:x:1:1::/:/bin/sh\n"), Mode: 0o644},
		{Path: "/home/alice", Dir: true, Mode: 0o700, UID: 1, GID: 1},
	}))
	if large, err := e.Size(ctx, id); err != nil || large < small+1<<20-4096 || large > small+2<<20 {
		t.Errorf("grew from %s to %s, %v", small, large, err)
	}
	_, err = e.Size(ctx, "none")
	wantKind(t, "size", err, problem.ErrNotFound)
	if data, err = e.ReadFile(ctx, id, "/etc/passwd"); err != nil || string(data) != "alice:x:1:1::/:/bin/sh\n" {
		t.Errorf("written: %q, %v", data, err)
	}
	for name, want := range map[string]bool{"/home/alice": true, "/bin/sh": true, "/bin/none": false, "/home/bob": false} {
		if ok, err := e.Exists(ctx, id, name); ok != want || err != nil {
			t.Errorf("%s exists: %t, %v", name, ok, err)
		}
	}
}

func watch(t *testing.T, e Subject) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	seen, kinds := map[string][]string{}, map[string]string{}
	changed := make(chan struct{}, 1000)
	ready, over := make(chan struct{}), make(chan error, 1)
	go func() {
		over <- e.Events(ctx, func() { close(ready) }, func(ev container.Event) {
			mu.Lock()
			defer mu.Unlock()
			seen[ev.ID] = append(seen[ev.ID], ev.Action)
			kinds[ev.ID] = ev.Kind
			changed <- struct{}{}
		})
	}()
	<-ready
	tries := 0
	within(t, "an event", func() bool { // the engine answers before it listens
		tries++
		must(t, e.CreateVolume(ctx, fmt.Sprintf("contract-heard-%d", tries), nil))
		select {
		case <-changed:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	must(t, e.CreateVolume(ctx, "contract-watched", nil))
	net, err := e.CreateNetwork(ctx, network.Spec{Name: "contract-watched", Subnet: netip.MustParsePrefix("10.192.2.0/26")})
	must(t, err)
	id := create(t, e, "events", true)
	if !inspect(t, e, id).AutoRemove {
		t.Error("it doesn't say that it is removed when it ends")
	}
	busybox, err := e.Image(ctx, "busybox")
	must(t, err)
	must(t, e.TagImage(ctx, busybox.ID, "contract/watched:1"))
	_, err = e.RemoveImage(ctx, "contract/watched:1", false)
	must(t, err)
	must(t, e.Start(ctx, id))
	must(t, e.Stop(ctx, id, 0))
	want := []string{"create", "start", "die", "destroy"}
	for deadline := time.After(patience); ; {
		mu.Lock()
		got := slices.Clone(seen[id]) // and nothing else
		mu.Unlock()
		if slices.Equal(got, want) {
			break
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("saw %v, want %v", got, want)
		}
	}
	mu.Lock()
	for made, kind := range map[string]string{"contract-watched": container.KindVolume, net: container.KindNetwork, id: container.KindContainer} {
		if kinds[made] != kind || !slices.Contains(seen[made], "create") {
			t.Errorf("of %s came %v, of kind %q", made, seen[made], kinds[made])
		}
	}
	if kinds[busybox.ID] != container.KindImage || !slices.Equal(seen[busybox.ID], []string{"tag"}) {
		t.Errorf("of the image came %v, of kind %q", seen[busybox.ID], kinds[busybox.ID])
	}
	mu.Unlock()
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("the stream ended with %v", err)
	}
}
