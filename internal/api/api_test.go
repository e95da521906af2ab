package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/api"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/docker/dockertest"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/reconciler"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/registrar"
	"ds01.dev/ds01/internal/registrar/registrartest"
	"ds01.dev/ds01/internal/safety"
	"ds01.dev/ds01/internal/steward"
	"ds01.dev/ds01/internal/store"
	"ds01.dev/ds01/internal/warden"
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

// directory knows the people, and takes the process of the test for one.
type directory struct{ who int }

func (d directory) Lookup(uid int) (account.Account, error) {
	if uid == os.Getuid() {
		uid = d.who
	}
	if a, ok := people()[uid]; ok {
		return a, nil
	}
	return account.Account{}, errors.New("no such user")
}

func (directory) LookupName(name string) (account.Account, error) {
	for _, a := range people() {
		if a.Name == name {
			return a, nil
		}
	}
	return account.Account{}, errors.New("no such user")
}

func (directory) All(context.Context) (all []account.Account, err error) {
	for _, a := range people() {
		all = append(all, a)
	}
	return all, nil
}

type nothing struct{}

func (nothing) Prepare(account.Account, admission.MountRoot, container.Mount) error { return nil }
func (nothing) Mount(account.Account, admission.MountRoot, container.Mount) error   { return nil }
func (nothing) CoverVolume(string, map[string]string) error                         { return nil }
func (nothing) UncoverVolume(string) error                                          { return nil }
func (nothing) Cover(account.Account, admission.MountRoot, container.Mount, map[string]string) error {
	return nil
}
func (nothing) Unmount(string) error  { return nil }
func (nothing) Parent(uid int) string { return fmt.Sprintf("/ds01/u%d", uid) }

func (nothing) Ensure(context.Context, int, limits.Limits) (string, error) { return "/ds01/u", nil }

func (nothing) End(context.Context, int, string) (int, error) { return 0, nil }
func (nothing) Freeze(context.Context, int, string) error     { return nil }
func (nothing) Thaw(int, string) error                        { return nil }
func (nothing) Container(int, string) (api.Sample, error)     { return api.Sample{Pids: 1}, nil }

func (nothing) Person(int) (api.Sample, error) { return api.Sample{}, os.ErrNotExist }

type simulator struct{ told []string }

func (s *simulator) Simulate(_ context.Context, uuid string, _ apitype.SimReading) error {
	s.told = append(s.told, uuid)
	return nil
}

// A lab is an API for each person, on one ledger and one engine.
type lab struct {
	registrar  *registrar.Registrar
	engine     *dockertest.Engine
	ledger     *allocator.Allocator
	images     *curator.Curator
	reconciler *reconciler.Reconciler
	simulator  *simulator
	cards      *cards
	document   *limits.Document
	sockets    map[int]string
	state      api.State
	log        auditLog
	warden     *warden.Warden
	steward    *steward.Steward
	records    *store.Store
	orphans    orphans
	card       gpu.Card // as the driver tells it
	seen       atomic.Pointer[[]gpu.Device]
	readings   map[string]gpu.Reading // that the warden sees
}

const file = "defaults: {max_mig_instances: 1, max_gpus_per_container: 1, allow_full_gpu: true, memory: 1g, memory_swap: 1g, max_containers_per_user: 3}\n"

func newLab(t *testing.T) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "ds01t") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{engine: dockertest.New(time.Now), simulator: &simulator{}, cards: &cards{}, sockets: map[int]string{}}
	l.state = api.State{Version: "1", EngineUp: true, GPUProvider: "sim", DefaultImage: "busybox", Groups: account.RoleGroups{Docker: "docker", GPU: "docker", Admin: "admin"}}
	if l.document, _, err = limits.Decode(limits.File{Name: "limits.yaml", Data: []byte(file)}, nil); err != nil {
		t.Fatal(err)
	}
	records, err := store.Open(t.Context(), filepath.Join(dir, "ds01.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { records.Close() })
	l.card = gpu.Card{UUID: "GPU-0", Model: "A100"}
	if l.warden, err = warden.New(t.Context(), warden.Parts{
		Store: records, Refresh: l.refresh, Now: time.Now, Log: slog.New(slog.DiscardHandler), Record: func(event.Event) {},
		Readings: func(context.Context) (map[string]gpu.Reading, error) { return l.readings, nil },
		Claims:   func() []gpu.Claim { return l.ledger.Claims() }, Members: func(gpu.Claim) map[int]bool { return nil },
		Identify: func(int) (user, command string, there bool) { return "mallory", "python3", true },
		Allowed:  func(int) bool { return false },
		Taken:    func(taken map[string]string) { l.ledger.SetStrangers(taken) },
	}); err != nil {
		t.Fatal(err)
	}
	l.refresh(t.Context())
	l.records = records
	if l.ledger, err = allocator.New(t.Context(), records, l.devices, time.Now); err != nil {
		t.Fatal(err)
	}
	l.cards.holds = l.ledger.Holds
	l.registrar = registrartest.New(t, l.engine, records, l.ledger.Lock, time.Now, nil)
	if l.images, err = curator.New(t.Context(), records, l.engine, l.ledger, time.Now); err != nil {
		t.Fatal(err)
	}
	for uid := range people() {
		l.serve(t, uid, filepath.Join(dir, fmt.Sprint(uid)))
	}
	l.serve(t, 0, filepath.Join(dir, "0")) // nobody whom the host knows
	return l
}

func (l *lab) devices() []gpu.Device { return *l.seen.Load() }

// refresh reads the one card anew.
func (l *lab) refresh(ctx context.Context) error {
	cards := []gpu.Card{l.card}
	l.warden.Mark(ctx, cards)
	devices := gpu.Devices(cards)
	l.seen.Store(&devices)
	return nil
}

func (l *lab) limits(a account.Account) limits.Limits { return l.document.Resolve(a, time.Now()) }

func (l *lab) serve(t *testing.T, uid int, socket string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	starter := launcher.New(launcher.Parts{
		Engine: l.engine, Images: l.images, Ledger: l.ledger, Registrar: l.registrar, Mounter: nothing{}, Cgroups: nothing{}, Accounts: directory{uid},
		Limits: l.limits, Devices: l.devices, Isolation: func() admission.Isolation { return admission.UserNS },
		Libraries: func() (string, error) { return "none", nil }, Log: log, Now: time.Now,
	})
	if l.reconciler == nil {
		l.reconciler = reconciler.New(reconciler.Parts{
			Engine: l.engine, Ledger: l.ledger, Launcher: starter, Registrar: l.registrar, Devices: l.devices, Log: log, Now: time.Now,
			Limits: func(uid int) (limits.Limits, error) { return l.limits(people()[uid]), nil },
		})
	}
	if l.steward == nil {
		var err error
		l.steward, err = steward.New(t.Context(), steward.Parts{
			Store: l.records, Ledger: l.ledger, Type: l.document.Type, Beat: func() lifecycle.Beat { return lifecycle.Beat{Wall: time.Now()} }, Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	handler := api.New(api.Parts{
		Accounts: directory{uid}, Engine: l.engine, Images: l.images, Ledger: l.ledger, Launcher: starter, Reconciler: l.reconciler, Warden: l.warden, Steward: l.steward, Usage: nothing{},
		Cards: l.cards, Simulator: l.simulator, Devices: l.devices, Recorder: recorder.New(&l.log, time.Now, log), Audit: &l.log, Log: log, Now: time.Now, Host: "lab", Limits: l.limits,
		Readings: func(context.Context) (map[string]gpu.Reading, error) { return map[string]gpu.Reading{}, nil },
		Document: func() *limits.Document { return l.document },
		Members:  func() (map[string]limits.File, error) { return map[string]limits.File{}, nil },
		Orphans:  &l.orphans,
		Facts:    func(context.Context) safety.Facts { return safety.Facts{Runc: "1.1.12"} },
		State:    func() api.State { return l.state },
	})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ConnContext: peer.ConnContext}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	l.sockets[uid] = socket
}

// ask sends a request and decodes the answer into v, unless that is nil; an
// answer that isn't a success is the error it describes.
func (l *lab) ask(t *testing.T, uid int, method, target, body string, v any) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://ds01"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
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
	if resp.StatusCode >= 300 {
		var d problem.Document
		if err := json.Unmarshal(data, &d); err != nil || d.Status != resp.StatusCode || d.Title == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: no problem document: %s, %v", method, target, data, err)
		}
		return problem.FromDocument(d)
	}
	if v != nil {
		if err := json.Unmarshal(data, v); err != nil {
			t.Errorf("%s %s: %s, %v", method, target, data, err)
		}
	}
	return nil
}

func (l *lab) must(t *testing.T, uid int, method, target, body string, v any) {
	t.Helper()
	if err := l.ask(t, uid, method, target, body, v); err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want one of kind %q", err, kind)
	}
}
