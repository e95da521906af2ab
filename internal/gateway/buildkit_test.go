package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// A kit stands in for the engine's BuildKit: each build is one image.
type kit struct {
	l      *lab
	orders []admission.KitBuild
	cache  []container.CacheRecord
	does   func(ctx context.Context, b admission.KitBuild) (answered bool, err error) // nil: it makes image 1
}

func (*kit) Session(_ context.Context, _ int, _ http.Header, accept func() (net.Conn, error)) error {
	conn, err := accept()
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte("served"))
	return errors.Join(err, conn.Close())
}

func (*kit) Serve(ctx context.Context, conn net.Conn, _ int, do func(context.Context, admission.KitRequest, func([]byte)) (string, error)) error {
	image, err := do(ctx, admission.KitRequest{Session: "s", Output: admission.KitImage, Targets: []string{"app:1"}}, func([]byte) {})
	_, werr := fmt.Fprintf(conn, "%s %v", image, err)
	return errors.Join(werr, conn.Close())
}

func (k *kit) Cache(context.Context) ([]container.CacheRecord, error) { return k.cache, nil }

func (k *kit) Prune(_ context.Context, uid int, p container.CachePrune) ([]container.CacheRecord, error) {
	gone := p.Picks(k.cache, uid)
	for _, r := range gone {
		k.cache = slices.DeleteFunc(k.cache, func(o container.CacheRecord) bool { return o.ID == r.ID })
	}
	return gone, nil
}

func (*kit) Await(context.Context, int, string) {}

func (*kit) Group(_ context.Context, who account.Account) (string, error) {
	return "/ds01/" + who.Name, nil
}

func (*kit) Narrow(_ context.Context, who account.Account, h admission.HostConfig) (string, func(), error) {
	return fmt.Sprintf("/ds01/%s/narrow_%d", who.Name, h.Memory), func() {}, nil
}

func (*kit) NoNetwork(context.Context) (string, error) { return "", nil }

func (k *kit) Build(ctx context.Context, b admission.KitBuild, tell func([]byte)) (bool, error) {
	k.orders = append(k.orders, b)
	tell([]byte("trace"))
	if k.does != nil {
		return k.does(ctx, b)
	}
	return true, k.l.engine.TagImage(ctx, id("1"), b.Mark)
}

// nobody has no login.
func nobody(context.Context, string) (admission.Credentials, error) {
	return admission.Credentials{}, nil
}

const build = "/build?version=2&remote=client-session&session=s&buildid=b"

func TestABuildsImageIsItsPersons(t *testing.T) {
	l := newLab(t)
	l.engine.AddImage(container.Image{ID: id("1")})
	l.engine.AddImage(container.Image{ID: id("2"), Names: []string{"ds01-71001/base:latest"}})
	got := l.ask(t, alice, "POST", build+"&t=app:1&t=team/app", "")
	for _, want := range []string{`{"aux":"dHJhY2U=","id":"moby.buildkit.trace"}`, `{"aux":{"ID":"` + id("1") + `"},"id":"moby.image.id"}`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s isn't in %d %s", want, got.status, got.body)
		}
	}
	for _, name := range []string{"ds01-71001/app:1", "ds01-71001/team/app:latest"} {
		if i, err := l.engine.Image(t.Context(), name); err != nil || i.ID != id("1") {
			t.Errorf("%s: %v, %v", name, i, err)
		}
	}
	if !l.images.Owns(id("1"), alice) {
		t.Error("alice doesn't own it")
	}
	o := l.kit.orders[0]
	if o.UID != alice || o.Session != "s" || o.Group != "/ds01/alice" {
		t.Errorf("the build was for %+v", o)
	}
	if name, err := o.Image(t.Context(), "docker.io/library/base:latest", nobody); name != "ds01-71001/base:latest" || err != nil {
		t.Errorf("base is %s, %v", name, err)
	}
	if _, err := o.Image(t.Context(), "docker.io/ds01-71002/base:latest", nobody); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("bob's is there: %v", err)
	}
	if got := o.Show("naming to docker.io/" + o.Mark + " from docker.io/ds01-71001/base:latest"); got != "naming to app:1, team/app from docker.io/base:latest" {
		t.Errorf("alice reads %q", got)
	}
}

func TestABuildOfFilesMakesNoImage(t *testing.T) {
	l := newLab(t)
	l.kit.does = func(_ context.Context, b admission.KitBuild) (bool, error) {
		if b.Mark != "" || b.Output != admission.KitFiles {
			t.Errorf("the build makes %q called %q", b.Output, b.Mark)
		}
		return true, nil
	}
	got := l.ask(t, alice, "POST", build+"&outputs="+url.QueryEscape(`[{"Type":"local","Attrs":{}}]`), "")
	if got.status != http.StatusOK || strings.Contains(got.body, "error") || strings.Contains(got.body, "moby.image.id") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if all, err := l.records.Makings(t.Context()); len(all) != 0 || err != nil {
		t.Errorf("%d makings, %v", len(all), err)
	}
}

// A shared image is fetched anew once, which the site's policy judges; the
// builder asks for it several times.
func TestABuildPullsAnewWhatIsShared(t *testing.T) {
	for pull, want := range map[string]int{"": 0, "&pull=1": 1} {
		l := newLab(t)
		l.engine.answers["POST /images/create"] = `{"status":"x"}`
		l.engine.AddImage(container.Image{ID: id("1")})
		l.engine.AddImage(container.Image{ID: id("2"), Names: []string{"ds01-71001/base:latest"}})
		l.ask(t, alice, "POST", build+pull, "")
		o := l.kit.orders[0]
		for range 2 {
			for _, reference := range []string{"docker.io/library/busybox:latest", "docker.io/library/base:latest"} {
				if _, err := o.Image(t.Context(), reference, nobody); err != nil {
					t.Errorf("%q: %s: %v", pull, reference, err)
				}
			}
		}
		if got := strings.Count(strings.Join(l.engine.requests, " "), "/images/create?fromImage=busybox%3Alatest"); got != want {
			t.Errorf("%q: it was pulled %d times: %q", pull, got, l.engine.requests)
		}
	}
	l := newLab(t)
	l.engine.AddImage(container.Image{ID: id("1")})
	l.ask(t, alice, "POST", build+"&pull=1", "")
	l.rules = denies("library/busybox")
	if _, err := l.kit.orders[0].Image(t.Context(), "docker.io/library/busybox:latest", nobody); err == nil || !strings.Contains(err.Error(), "no image.pull of latest") {
		t.Errorf("what the site forbids: %v", err)
	}
}

func TestABuildThatFailsLeavesNothingToWaitFor(t *testing.T) {
	for name, c := range map[string]struct {
		answered bool
		want     int
	}{"the engine has answered": {true, 0}, "it may make one yet": {false, 1}} {
		l := newLab(t)
		l.kit.does = func(context.Context, admission.KitBuild) (bool, error) { return c.answered, errors.New("exit code: 1") }
		if got := l.ask(t, alice, "POST", build+"&t=app", ""); !strings.Contains(got.body, `"error":"ds01: exit code: 1"`) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if all, err := l.records.Makings(t.Context()); len(all) != c.want || err != nil {
			t.Errorf("%s: %d makings, %v", name, len(all), err)
		}
	}
}

func TestABuildIsEndedByItsName(t *testing.T) {
	for id, own := range map[string]bool{"b": true, "another": false} {
		l := newLab(t)
		begun, ended := make(chan struct{}), make(chan struct{})
		l.kit.does = func(ctx context.Context, _ admission.KitBuild) (bool, error) {
			close(begun)
			select {
			case <-ctx.Done():
			case <-ended:
			}
			return false, context.Cause(ctx)
		}
		answers := make(chan answer)
		go func() { answers <- l.ask(t, alice, "POST", build, "") }()
		<-begun
		if got := l.ask(t, alice, "POST", "/build/cancel?id="+id, ""); got.status != http.StatusOK {
			t.Errorf("%s: %d %s", id, got.status, got.body)
		}
		if !own {
			close(ended)
		}
		if got := <-answers; strings.Contains(got.body, "canceled") != own {
			t.Errorf("%s was ended: %s", id, got.body)
		}
	}
}

func TestABuildIsRefusedBeforeItBegins(t *testing.T) {
	for name, c := range map[string]struct {
		query  string
		status int
	}{
		"the host's network":       {"&networkmode=host", http.StatusForbidden},
		"a name that is none":      {"&t=A:b:c", http.StatusBadRequest},
		"a classic build":          {"&version=1", http.StatusBadRequest},
		"a name that is another's": {"&t=ds01-71002/x", http.StatusNotFound},
	} {
		l := newLab(t)
		if got := l.ask(t, alice, "POST", build+c.query, ""); got.status != c.status || len(l.kit.orders) > 0 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	l := newLab(t)
	l.space = func() container.Space {
		return container.Space{Known: true, Total: 100, Free: 1, Keep: quantity.ByteSize(50)}
	}
	if got := l.ask(t, alice, "POST", build, ""); got.status < 400 || len(l.kit.orders) > 0 {
		t.Errorf("on a full disk: %d %s", got.status, got.body)
	}
}

func TestOnlyASessionIsHTTP2(t *testing.T) {
	for target, want := range map[string]string{
		"/session":                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nserved",
		"/v1.41/session":                  "HTTP/1.1 101 ",
		"/containers/x/attach?a=/session": "HTTP/1.1 400 ",
		"/containers/x/session":           "HTTP/1.1 403 ",
		"/images/session":                 "HTTP/1.1 40",
		"/grpc":                           "HTTP/1.1 101 ",
		"/containers/x/grpc":              "HTTP/1.1 403 ",
	} {
		l := newLab(t)
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", l.sockets[alice])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("POST " + target + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if string(got) != want {
			t.Errorf("%s: %q", target, got)
		}
		conn.Close()
	}
	l := newLab(t)
	if got := l.ask(t, alice, "POST", "/session", ""); got.status != http.StatusBadRequest {
		t.Errorf("without an upgrade: %d %s", got.status, got.body)
	}
}

func TestTheBuildCacheIsOnesOwn(t *testing.T) {
	l := newLab(t)
	l.answer("/system/df", `{"LayersSize":0,"Images":[],"Containers":[],"Volumes":[],"BuildCache":[]}`)
	l.kit.cache = []container.CacheRecord{
		{ID: "hers", Size: 10, Owners: []int{alice}},
		{ID: "his", Size: 10, Owners: []int{bob}},
		{ID: "both", Size: 7, Owners: []int{alice, bob}},
		{ID: "nobodys", Size: 9},
		{ID: "image", Size: 4, Shared: true, Owners: []int{alice}},
	}
	got := l.ask(t, alice, "GET", "/v1.41/system/df", "")
	for _, want := range []string{`"ID":"hers"`, `"ID":"both"`, `"ID":"image"`, `"BuilderSize":17`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s isn't in %s", want, got.body)
		}
	}
	if strings.Contains(got.body, "his") || strings.Contains(got.body, "nobodys") {
		t.Errorf("alice sees %s", got.body)
	}
	for query, why := range map[string]string{`?filters={"id":["his"]}`: "id", "?keep-storage=x": "number of bytes", "?min-free-space=5": "host's to keep"} {
		if got := l.ask(t, alice, "POST", "/build/prune"+query, ""); got.status != 400 || !strings.Contains(got.body, why) {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	for _, c := range []struct{ query, want string }{
		{"?keep-storage=14", `{"CachesDeleted":[],"SpaceReclaimed":0}`},
		{"", `{"CachesDeleted":["hers"],"SpaceReclaimed":10}`},
		{"?all=1", `{"CachesDeleted":["image"],"SpaceReclaimed":4}`},
		{"?all=1", `{"CachesDeleted":[],"SpaceReclaimed":0}`},
	} {
		if got := l.ask(t, alice, "POST", "/build/prune"+c.query, ""); strings.TrimSpace(got.body) != c.want {
			t.Errorf("%q: %s", c.query, got.body)
		}
	}
	if len(l.kit.cache) != 3 {
		t.Errorf("left are %+v", l.kit.cache)
	}
}
