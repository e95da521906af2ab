package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/archiver"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/docker/dockerfile"
	"ds01.dev/ds01/internal/docker/dockertest"
	"ds01.dev/ds01/internal/gateway"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/registrar"
	"ds01.dev/ds01/internal/registrar/registrartest"
	"ds01.dev/ds01/internal/sampler"
	"ds01.dev/ds01/internal/store"
	"ds01.dev/ds01/internal/volume"
)

// The people of these tests.
const (
	alice   = 71001
	bob     = 71002
	admin   = 71003
	outside = 71004
)

func people() map[int]account.Account {
	all := map[int]account.Account{}
	for uid, who := range map[int]struct{ name, group string }{
		alice: {"alice", "docker"}, bob: {"bob", "docker"}, admin: {"root2", "admin"}, outside: {"mallory", "users"},
	} {
		all[uid] = account.Account{UID: uid, GID: uid, Name: who.name, Home: "/home/" + who.name, Groups: []account.Group{{GID: uid, Name: who.group}}}
	}
	return all
}

// An engine is one in memory, with the answers of its HTTP API written by the
// test.
type engine struct {
	*dockertest.Engine
	socket string

	mu       sync.Mutex
	answers  map[string]string // by "METHOD /path", without version
	requests []string          // "METHOD /path?query"
	during   func(path string) // called while a request is answered
	lost     bool              // answers are lost
	unread   bool              // it reads no names in archives
	headers  []http.Header
	bodies   []string
}

func (e *engine) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	if e.during != nil {
		e.during(r.URL.Path)
	}
	e.requests, e.headers, e.bodies = append(e.requests, r.Method+" "+r.URL.RequestURI()), append(e.headers, r.Header), append(e.bodies, string(body))
	w := httptest.NewRecorder()
	answer, ok := e.answers[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1.41")]
	switch status, text, coded := strings.Cut(answer, "!"); {
	case !ok:
		w.WriteHeader(http.StatusNoContent)
	case coded && len(status) == 3:
		code := 0
		fmt.Sscan(status, &code)
		w.WriteHeader(code)
		w.WriteString(text)
	default:
		e.mark(r, string(body), answer)
		w.Header().Set("Content-Type", "application/json")
		w.WriteString(answer)
	}
	if e.lost {
		return nil, &problem.Error{What: "the Docker engine doesn't answer", Why: problem.Because(problem.ErrUnavailable, "EOF")}
	}
	return w.Result(), nil
}

var imageID = regexp.MustCompile("sha256:[0-9a-f]{64}")

// mark gives the images that an answer speaks of the names that they were
// asked for by.
func (e *engine) mark(r *http.Request, sent, answer string) {
	ids := imageID.FindAllString(answer, -1)
	names := []string{r.URL.Query().Get("repo") + ":" + r.URL.Query().Get("tag")}
	if strings.HasSuffix(r.URL.Path, "/build") {
		ids, names = ids[max(0, len(ids)-1):], []string{r.URL.Query().Get("t")}
	}
	if strings.HasSuffix(r.URL.Path, "/images/load") {
		names = mark.FindAllString(sent, -1)
	}
	if e.unread {
		return
	}
	for i, id := range ids {
		if i < len(names) && mark.MatchString(names[i]) {
			e.TagImage(context.Background(), id, names[i])
		}
	}
}

var mark = regexp.MustCompile("ds01-[0-9]+/ds01-nameless:[0-9a-f]+-[0-9]+")

func (e *engine) Dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", e.socket)
}

func (e *engine) last() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.requests) == 0 {
		return ""
	}
	return e.requests[len(e.requests)-1]
}

// A lab is a gateway for each person, on one ledger and one engine.
type lab struct {
	engine  *engine
	ledger  *allocator.Allocator
	images  *curator.Curator
	hosts   []string // registries that may be used
	rules   launcher.Rules
	devices []gpu.Device
	sockets map[int]string
	observe []string
	volume  string // the directory of each volume, "" where none can be opened
	closing chan struct{}
	down    bool
	api     string // newest version that the engine speaks
	log     auditLog
	records *store.Store
	space   func() container.Space
	kit     kit

	terminals sampler.Terminals
	registrar *registrar.Registrar
	served    bool     // the engine makes networks
	moved     sync.Map // see directory
}

func (*lab) Snapshot(container.Observed) (func() error, error) {
	return nil, errors.New("no container of the fake's has a layer")
}

func (*lab) Layer(container.Record, container.Observed, bool) (*archiver.Tree, error) {
	return nil, errors.New("no container of the fake's has a layer")
}

func (l *lab) Volume(v volume.Mounted) (*archiver.Tree, error) {
	root, err := os.OpenRoot(l.volume)
	if err != nil {
		return nil, err
	}
	return archiver.New(root, v.Target, archiver.IDs{}), nil
}

func (l *lab) Up() bool { return !l.down }

func (l *lab) Observe(_ context.Context, id string) error {
	l.observe = append(l.observe, id)
	return nil
}

type nothing struct{}

func (nothing) Prepare(account.Account, admission.MountRoot, container.Mount) error { return nil }
func (nothing) Mount(account.Account, admission.MountRoot, container.Mount) error   { return nil }
func (nothing) CoverVolume(string, map[string]string) error                         { return nil }
func (nothing) UncoverVolume(string) error                                          { return nil }
func (nothing) Unmount(string) error                                                { return nil }
func (nothing) Cover(account.Account, admission.MountRoot, container.Mount, map[string]string) error {
	return nil
}
func (nothing) Parent(int) string                                          { return "/ds01/u" }
func (nothing) Ensure(context.Context, int, limits.Limits) (string, error) { return "/ds01/u", nil }

func (nothing) End(context.Context, int, string) (int, error) { return 0, nil }
func (nothing) Freeze(context.Context, int, string) error     { return nil }
func (nothing) Thaw(int, string) error                        { return nil }

// directory knows the people, and takes the process of the test for one.
// A directory knows the peer of each request as one of the people.
type directory struct {
	who   int
	moved *sync.Map // uid to the group that somebody is in by now
}

func (d directory) Lookup(uid int) (account.Account, error) {
	if uid == os.Getuid() {
		uid = d.who
	}
	a, known := people()[uid]
	if group, moved := d.moved.Load(uid); moved {
		a.Groups[0].Name, known = group.(string), group != ""
	}
	if known {
		return a, nil
	}
	return account.Account{}, errors.New("no such user")
}

func bound() limits.Limits {
	return limits.Limits{
		MaxDevices: quantity.To(1), MaxGPUsPerContainer: quantity.To(1), AllowFullGPU: true, MaxGPUShare: quantity.None[quantity.GPUShare](),
		MaxContainers: quantity.To(3), GPUHoldAfterStop: quantity.To(time.Hour), Memory: quantity.To(quantity.ByteSize(1 << 30)),
		MemorySwap: quantity.To(quantity.ByteSize(1 << 30)), PidsLimit: quantity.To(int64(100)), StopTimeout: quantity.To(10 * time.Second),
		MaxCPUs: quantity.None[quantity.CPUs](), ShmSize: quantity.None[quantity.ByteSize](), UlimitNofile: quantity.None[int64](),
		Aggregate: limits.Aggregate{CPUs: quantity.None[quantity.CPUs]()}, Mounts: []limits.MountRoot{{Path: "/home"}},
	}
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "ds01t") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{api: "1.41", sockets: map[int]string{}, closing: make(chan struct{}), space: func() container.Space { return container.Space{} }}
	l.kit.l = l
	l.engine = &engine{Engine: dockertest.New(time.Now), socket: filepath.Join(dir, "engine"), answers: map[string]string{}}
	records, err := store.Open(t.Context(), filepath.Join(dir, "ds01.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { records.Close() })
	l.records = records
	l.devices = []gpu.Device{{UUID: "GPU-0", Slot: "0", Instance: -1, Profile: gpu.Full, Share: quantity.FullGPU}}
	if l.ledger, err = allocator.New(t.Context(), records, func() []gpu.Device { return l.devices }, time.Now); err != nil {
		t.Fatal(err)
	}
	l.registrar = registrartest.New(t, l.engine, records, l.ledger.Lock, time.Now, &l.served)
	if l.images, err = curator.New(t.Context(), records, l.engine, l.ledger, time.Now); err != nil {
		t.Fatal(err)
	}
	for uid := range people() {
		l.serve(t, uid, filepath.Join(dir, fmt.Sprint(uid)))
	}
	l.serve(t, 0, filepath.Join(dir, "0")) // nobody whom the host knows
	return l
}

func (l *lab) serve(t *testing.T, uid int, socket string) {
	t.Helper()
	l.serveTo(t, uid, uid, socket, peer.ConnContext)
}

// serveTo serves a person at the socket that ask knows by key; who says who
// connects.
func (l *lab) serveTo(t *testing.T, uid, key int, socket string, who func(context.Context, net.Conn) context.Context) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	isolation := func() admission.Isolation { return admission.UserNS }
	starter := launcher.New(launcher.Parts{
		Engine: l.engine, Images: l.images, Ledger: l.ledger, Registrar: l.registrar, Mounter: nothing{}, Cgroups: nothing{}, Accounts: directory{uid, &l.moved},
		Limits: func(account.Account) limits.Limits { return bound() }, Devices: func() []gpu.Device { return l.devices },
		Isolation: isolation, Libraries: func() (string, error) { return "none", nil }, Log: log, Now: time.Now, MountFolder: "/run/ds01/mnt",
		Policy: func() launcher.Rules { return l.rules },
	})
	g := gateway.New(gateway.Parts{
		Engine: l.engine, Images: l.images, Registries: func() []string { return l.hosts }, Ledger: l.ledger, Launcher: starter, Registrar: l.registrar, Observer: l, Accounts: directory{uid, &l.moved},
		Roles: func(a account.Account) account.Roles {
			return account.RolesOf(a, account.RoleGroups{Docker: "docker", GPU: "docker", Admin: "admin"})
		},
		Isolation: isolation, API: func() string { return l.api }, StopGrace: func(account.Account, string) time.Duration { return 10 * time.Second },
		Space: func() container.Space { return l.space() }, Files: l, Recipes: dockerfile.Reader{}, Kit: &l.kit, Terminals: &l.terminals, Closing: l.closing, Recorder: recorder.New(&l.log, time.Now, log), Log: log, Now: time.Now,
	})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: g, ConnContext: who}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	l.sockets[key] = socket
}

// An answer is what a client got.
type answer struct {
	status int
	body   string
	header http.Header
}

func (l *lab) ask(t *testing.T, uid int, method, target, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://docker"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return l.send(t, uid, r)
}

func (l *lab) send(t *testing.T, uid int, r *http.Request) answer {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.sockets[uid])
	}}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(data), resp.Header}
}

// raw sends bytes and returns the status of the answer.
func (l *lab) raw(t *testing.T, uid int, request string) int {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", l.sockets[uid])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// wantRefusal wants Docker's own shape of an error.
func wantRefusal(t *testing.T, a answer, status int, says string) {
	t.Helper()
	var doc map[string]string
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || len(doc) != 1 || !strings.HasPrefix(doc["message"], "ds01: ") {
		t.Errorf("not Docker's shape: %s, %v", a.body, err)
	}
	if a.status != status || !strings.Contains(doc["message"], says) {
		t.Errorf("got %d %q, want %d %q", a.status, doc["message"], status, says)
	}
	if a.header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", a.header.Get("Content-Type"))
	}
}

// create makes a container called web as a client does and returns its id.
func (l *lab) create(t *testing.T, uid int) string {
	t.Helper()
	return l.createAs(t, uid, "web")
}

func (l *lab) createAs(t *testing.T, uid int, name string) string {
	t.Helper()
	a := l.ask(t, uid, "POST", "/v1.41/containers/create?name="+name, `{"Image":"busybox","HostConfig":{"Binds":["/home/x/w:/w"]}}`)
	var doc struct {
		ID       string `json:"Id"`
		Warnings []string
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != 201 || doc.Warnings == nil {
		t.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	return doc.ID
}

func (l *lab) recordOf(t *testing.T, id string) container.Record {
	t.Helper()
	r, ok := l.ledger.ByContainer(id)
	if !ok {
		t.Fatal("no record")
	}
	return r
}

func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.status != 200 {
		t.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	return v
}

func sorted(list ...string) []string { return slices.Sorted(slices.Values(list)) }
