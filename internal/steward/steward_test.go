package steward_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/steward"
	"ds01.dev/ds01/internal/store"
)

// begin is when every story begins.
var begin = time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC)

// A world is a steward with an engine, people and clocks in memory. Its own
// methods stand for all that the steward reaches.
type world struct {
	*steward.Steward
	t      testing.TB
	path   string
	store  *store.Store
	ledger *allocator.Allocator
	bound  string // the limits file
	live   bool

	mu       sync.Mutex
	seen     map[string]container.Observed // by the engine's id
	busy     map[string]bool               // by claim
	alive    map[string]bool               // by claim
	log      []string
	clock    lifecycle.Beat
	broken   map[string]bool // what fails: "engine", "launcher", "store", "accounts", "sampler"
	hangs    chan struct{}   // the engine answers once it is closed; nil: at once
	tells    func()          // is called when somebody is told something
	slow     func()          // is called before lives are stored, and after exemptions were read
	lost     []string        // acts that were done to a container that worked
	released map[string]bool
}

const defaultBound = "defaults: {idle_timeout: 100m, max_runtime: 1000m, container_hold_after_stop: 30m, gpu_hold_after_stop: 15m, policies: {grace_period: 10m}}"

func newWorld(t testing.TB, containers int) *world {
	t.Helper()
	w := &world{
		t: t, path: filepath.Join(t.TempDir(), "ds01.db"), bound: defaultBound, live: true, seen: map[string]container.Observed{}, busy: map[string]bool{}, alive: map[string]bool{},
		broken: map[string]bool{}, released: map[string]bool{}, clock: lifecycle.Beat{Boot: "a", Steady: time.Hour, Wall: begin},
	}
	s, err := store.Open(t.Context(), w.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range containers {
		id := fmt.Sprintf("c%04d", i)
		r := container.Record{Login: "alice", Image: "busybox", Interface: "docker", AtStart: true}
		r.ID, r.UID, r.Name, r.ContainerID, r.State, r.CreatedAt = id, 1000+i%100, "n"+id, "e"+id, gpu.Running, begin
		r.Devices = []gpu.Grant{{UUID: "GPU-" + id, Slot: id[1:], Share: quantity.FullGPU}}
		if err := s.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		w.seen[r.ContainerID] = container.Observed{ID: r.ContainerID, State: "running", StartedAt: begin}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	return w
}

// open starts ds01 on what was stored.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.store, err = store.Open(w.t.Context(), w.path); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.store.Close() })
	if w.ledger, err = allocator.New(w.t.Context(), w.store, func() []gpu.Device { return nil }, w.now); err != nil {
		w.t.Fatal(err)
	}
	document, _, err := limits.Decode(limits.File{Name: "l", Data: []byte(w.bound)}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Steward, err = steward.New(w.t.Context(), steward.Parts{
		Store: failing{w.store, w}, Ledger: w.ledger, Observed: w.observed, Observe: w.observe, Sample: w.sample, Launcher: w, Stop: w.stop, Remove: w.remove,
		Voice: w, Accounts: w.account, Limits: func(a account.Account) limits.Limits { return document.Resolve(a, begin) }, Type: document.Type,
		Devices: func() []gpu.Device { return nil }, Live: func() bool { return w.live }, Beat: w.beat, Period: func() time.Duration { return time.Minute },
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// reopen kills ds01 and starts it again.
func (w *world) reopen() {
	w.Wait()
	_ = w.store.Close()
	w.open()
}

func (w *world) now() time.Time { return w.beat().Wall }

func (w *world) beat() lifecycle.Beat {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// spend has minutes go by, with a pass in each.
func (w *world) spend(minutes int) {
	for range minutes {
		w.look(time.Minute)
		w.Wait()
	}
}

// look has a pass some time after the one before, and doesn't wait for what that
// does.
func (w *world) look(after time.Duration) {
	w.mu.Lock()
	w.clock.Steady += after
	w.clock.Wall = w.clock.Wall.Add(after)
	w.mu.Unlock()
	w.Pass(w.t.Context())
}

// works has the first container work from now on, or not.
func (w *world) works(busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy["c0000"] = busy
}

// await waits for an engine that hangs.
func (w *world) await() {
	w.mu.Lock()
	hangs := w.hangs
	w.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
}

var errBroken = errors.New("broken")

func (w *world) fails(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken[what] {
		return errBroken
	}
	return nil
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%s ", w.clock.Wall.Sub(begin))+fmt.Sprintf(format, args...))
}

// said returns what was said and done since it was last asked.
func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.log = nil }()
	return strings.Join(w.log, "\n")
}

func (w *world) observed(id string) (container.Observed, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o, ok := w.seen[id]
	return o, ok
}

// observe does what the reconciler does.
func (w *world) observe(ctx context.Context, id string) error {
	w.await()
	r, ok := w.ledger.ByContainer(id)
	o, there := w.observed(id)
	switch {
	case !ok:
		return nil
	case !there:
		return w.ledger.Forget(ctx, r.ID)
	case !o.Running() && r.State == gpu.Running:
		return w.ledger.Update(ctx, r.ID, func(r *container.Record) {
			r.State, r.HeldUntil = gpu.Held, w.now().Add(15*time.Minute)
		})
	}
	return nil
}

func (w *world) sample(context.Context) map[string]lifecycle.Sample {
	all := map[string]lifecycle.Sample{}
	if w.fails("sampler") != nil {
		return all
	}
	for _, r := range w.ledger.Records() {
		none := lifecycle.Known(0)
		s := lifecycle.Sample{Over: time.Minute, Devices: true, GPU: none, CPU: none, Network: none, Disk: none, Terminals: none}
		w.mu.Lock()
		if w.busy[r.ID] {
			s.GPU = lifecycle.Known(83)
		}
		if w.broken["driver"] {
			s.GPU = lifecycle.Reading{}
		}
		w.mu.Unlock()
		all[r.ID] = s
	}
	return all
}

// done notes what was done to a container, which must not have been at work.
func (w *world) done(claim, what string) {
	w.mu.Lock()
	if w.busy[claim] {
		w.lost = append(w.lost, what+" "+claim)
	}
	w.mu.Unlock()
	w.say("%s %s", what, claim)
}

func (w *world) TakeDevices(ctx context.Context, claim string) error {
	w.await()
	if err := w.fails("launcher"); err != nil {
		return err
	}
	w.done(claim, "take")
	_, err := w.ledger.Take(ctx, claim, []string{"GPU-" + claim})
	return err
}

func (w *world) Halt(context.Context, string) error { return w.fails("launcher") }

func (w *world) stop(_ context.Context, id string, grace time.Duration) error {
	w.await()
	if err := w.fails("engine"); err != nil {
		return err
	}
	w.done(id[1:], "stop "+grace.String())
	w.end(id)
	return nil
}

// end ends a container.
func (w *world) end(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.seen[id]
	o.State, o.FinishedAt = "exited", w.clock.Wall
	w.seen[id] = o
}

func (w *world) remove(ctx context.Context, id string) error {
	if err := w.fails("engine"); err != nil {
		return err
	}
	w.done(id[1:], "remove")
	w.mu.Lock()
	delete(w.seen, id)
	w.mu.Unlock()
	return w.observe(ctx, id)
}

func (w *world) Tell(_ context.Context, _ container.Record, subject, _ string, mail bool) {
	w.say("tell: %s (mail %t)", subject, mail)
	if w.tells != nil {
		w.tells()
	}
}
func (w *world) Hush(_ context.Context, c container.Record) { w.say("hush %s", c.ID) }
func (w *world) Alive(c container.Record) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alive[c.ID]
}

func (w *world) LastCall(_ context.Context, c container.Record, why lifecycle.Cause, left time.Duration) error {
	w.say("last call of %s for %s, %s left", c.ID, why, left)
	return nil
}

func (w *world) account(uid int) (account.Account, error) {
	return account.Account{UID: uid, GID: uid, Name: "alice"}, w.fails("accounts")
}

// failing is a store that may break.
type failing struct {
	*store.Store
	w *world
}

func (f failing) SaveLives(ctx context.Context, lives map[string]lifecycle.Life, now lifecycle.Beat) error {
	if err := f.w.fails("store"); err != nil {
		return err
	}
	if f.w.slow != nil {
		f.w.slow()
	}
	return f.Store.SaveLives(ctx, lives, now)
}

func (f failing) Exemptions(ctx context.Context) ([]lifecycle.Exemption, error) {
	all, err := f.Store.Exemptions(ctx)
	if f.w.slow != nil {
		f.w.slow()
	}
	return all, err
}

func (w *world) want(t *testing.T, want string) {
	t.Helper()
	if got := w.said(); got != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant\n%s", got, strings.TrimSpace(want))
	}
}

func TestAnIdleContainerLosesItsGPUAfterTwoWarnings(t *testing.T) {
	w := newWorld(t, 1)
	w.spend(300)
	w.want(t, `
1h31m0s tell: GPU 0000 of your container nc0000 is taken back in 20m (mail true)
1h46m0s tell: GPU 0000 of your container nc0000 is taken back in 5m (mail false)
1h46m0s last call of c0000 for idle, 2m0s left
1h52m0s take c0000
1h52m0s tell: GPU 0000 was taken back from your container nc0000 (mail true)`)
	if r, ok := w.ledger.Record("c0000"); !ok || len(r.Devices) > 0 || r.State != gpu.Running {
		t.Errorf("afterwards: %+v", r)
	}
}

func TestWhereAGPUCantBeTakenTheContainerIsStoppedAndRemoved(t *testing.T) {
	w := newWorld(t, 1)
	w.live = false
	w.spend(112)
	w.want(t, `
1h31m0s tell: Your container nc0000 is stopped in 20m (mail true)
1h46m0s tell: Your container nc0000 is stopped in 5m (mail false)
1h46m0s last call of c0000 for idle, 2m0s left
1h52m0s stop 30s c0000
1h52m0s tell: Your container nc0000 was stopped (mail true)`)
	if r, _ := w.ledger.Record("c0000"); r.State != gpu.Held || !r.HeldUntil.Equal(w.now()) {
		t.Errorf("it holds its GPU until %s, in state %s", r.HeldUntil, r.State)
	}
	w.spend(100)
	w.want(t, `
2h17m0s tell: Your container nc0000 is removed in 6m (mail true)
2h22m0s tell: Your container nc0000 is removed in 1m (mail false)
2h24m0s remove c0000
2h24m0s tell: Your container nc0000 was removed (mail false)`)
}

func TestWhatLostItsGPUIsWarnedAgainBeforeItIsStopped(t *testing.T) {
	w := newWorld(t, 1)
	w.bound = "defaults: {idle_timeout: 100m, without_gpu: {idle_timeout: 50m}}"
	w.reopen()
	w.spend(300)
	if got := w.said(); !strings.Contains(got, "take c0000") || strings.Count(got, "is stopped in") != 2 || !strings.Contains(got, "stop 30s c0000") {
		t.Errorf("got %s", got)
	}
}

func TestAHoldIsNotShortenedWhileNobodyLooks(t *testing.T) {
	w := newWorld(t, 1)
	w.spend(3)
	w.mu.Lock() // ds01 is down for two hours, and the container ends in the last minute
	w.clock.Steady += 2 * time.Hour
	w.clock.Wall = w.clock.Wall.Add(2 * time.Hour)
	w.mu.Unlock()
	w.reopen()
	w.end("ec0000")
	if err := w.observe(t.Context(), "ec0000"); err != nil {
		t.Fatal(err)
	}
	w.said()
	w.spend(24)
	w.want(t, "")
	w.spend(12)
	if got := w.said(); !strings.Contains(got, "remove c0000") {
		t.Errorf("afterwards: %s", got)
	}
}

func TestWorkAndAFileLetAContainerBe(t *testing.T) {
	w := newWorld(t, 2)
	w.busy["c0000"] = true
	w.alive["c0001"] = true
	w.spend(300)
	w.want(t, "")
	w.mu.Lock()
	w.alive["c0001"] = false
	w.mu.Unlock()
	w.spend(45)
	if got := w.said(); !strings.Contains(got, "GPU 0001 of your container nc0001 is taken back in 20m") {
		t.Errorf("without its file: %s", got)
	}
	w.mu.Lock()
	w.busy["c0001"] = true
	w.mu.Unlock()
	w.spend(2)
	w.want(t, "5h46m0s hush c0001")
}

func TestARestartForgetsNoTimeAndWarnsNobodyTwice(t *testing.T) {
	w := newWorld(t, 1)
	for range 60 { // it is killed every five minutes, for a minute
		w.spend(4)
		w.mu.Lock()
		w.clock.Steady += time.Minute
		w.clock.Wall = w.clock.Wall.Add(time.Minute)
		w.mu.Unlock()
		w.reopen()
	}
	got := w.said()
	for _, once := range []string{"taken back in 18m", "last call", "take c0000"} {
		if strings.Count(got, once) != 1 {
			t.Errorf("%q is %d times in\n%s", once, strings.Count(got, once), got)
		}
	}
}

// slowOnce has the next that reaches the store be slow, and returns what is closed
// when it is.
func (w *world) slowOnce() chan struct{} {
	slow := make(chan struct{})
	var others atomic.Bool
	w.slow = func() {
		if !others.Swap(true) {
			close(slow)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return slow
}

func TestWhatIsStoredLaterIsNotOlder(t *testing.T) {
	w := newWorld(t, 1)
	w.spend(2)
	slow := w.slowOnce()
	var pass sync.WaitGroup
	pass.Go(func() { w.look(time.Minute) })
	<-slow // the pass has what it is about to store
	if err := w.Protect(t.Context(), "c0000", true); err != nil {
		t.Fatal(err)
	}
	pass.Wait()
	w.reopen()
	if !w.Clock("c0000").Life.Protected {
		t.Error("what an administrator has asked for is forgotten")
	}
}

func TestTwoExemptionsAtOnceAreTwo(t *testing.T) {
	w := newWorld(t, 1)
	slow := w.slowOnce()
	exempt := func(login string) error {
		return w.Exempt(t.Context(), lifecycle.Exemption{Login: login, From: []lifecycle.Cause{lifecycle.Idle}, Reason: "thesis", By: "root", Made: begin, Until: begin.Add(time.Hour)})
	}
	first := make(chan error, 1)
	go func() { first <- exempt("alice") }()
	<-slow // what was read then is without bob's
	if err := errors.Join(exempt("bob"), <-first); err != nil {
		t.Fatal(err)
	}
	if all := w.Exemptions(); len(all) != 2 {
		t.Errorf("exempt are %+v", all)
	}
}

func TestAClockThatJumpsReleasesNothing(t *testing.T) {
	for name, change := range map[string]func(*world){
		"set an hour on":   func(w *world) { w.clock.Wall = w.clock.Wall.Add(time.Hour) },
		"set an hour back": func(w *world) { w.clock.Wall = w.clock.Wall.Add(-time.Hour) },
		"a long suspend":   func(w *world) { w.clock.Wall = w.clock.Wall.Add(30 * time.Hour) },
		"a reboot": func(w *world) {
			w.clock = lifecycle.Beat{Boot: "b", Steady: time.Second, Wall: w.clock.Wall.Add(5 * time.Hour)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.spend(3)
			w.end("ec0000")
			if err := w.observe(t.Context(), "ec0000"); err != nil {
				t.Fatal(err)
			}
			w.spend(5)
			place := gpu.Ticket{ID: "a1", UID: 2000, Devices: []gpu.Grant{{UUID: "GPU-kept"}}, Until: w.now().Add(7 * time.Minute)}
			if err := w.store.SaveTicket(t.Context(), place); err != nil {
				t.Fatal(err)
			}
			w.mu.Lock()
			change(w)
			w.mu.Unlock()
			w.reopen()
			w.Pass(t.Context())
			if p, err := w.ledger.Ticket(place.UID, place.ID); err != nil || p.Until.Sub(w.now()) != 7*time.Minute {
				t.Errorf("a GPU is kept for another %s: %v", p.Until.Sub(w.now()), err)
			}
			if r, _ := w.ledger.Record("c0000"); r.HeldUntil.Sub(w.now()) != 10*time.Minute {
				t.Errorf("it holds its GPU for another %s", r.HeldUntil.Sub(w.now()))
			}
			w.spend(17)
			w.Wait()
			if got := w.said(); strings.Contains(got, "remove") && strings.Contains(got, "remove c0000") {
				t.Errorf("removed early: %s", got)
			}
			w.spend(12)
			if got := w.said(); !strings.Contains(got, "remove c0000") {
				t.Errorf("never removed: %s", got)
			}
		})
	}
}

func TestNothingHappensToWhatCantBeJudged(t *testing.T) {
	for _, what := range []string{"accounts", "sampler", "driver"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, 1)
			w.broken[what] = true
			w.spend(300)
			w.want(t, "")
		})
	}
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t, 1)
	w.broken["launcher"], w.broken["store"] = true, true
	w.spend(200)
	if got := w.said(); strings.Contains(got, "take c0000") || strings.Count(got, "taken back in") != 2 {
		t.Errorf("while it is broken: %s", got)
	}
	w.mu.Lock()
	w.broken = map[string]bool{}
	w.mu.Unlock()
	w.spend(1)
	if got := w.said(); !strings.Contains(got, "take c0000") {
		t.Errorf("afterwards: %s", got)
	}
}

func TestWhatBeganToWorkWhileTheEngineHungLosesNothing(t *testing.T) {
	for what, live := range map[string]bool{"its GPU": true, "its container": false} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, 1)
			w.live = live
			w.spend(111)
			w.mu.Lock()
			w.hangs = make(chan struct{})
			w.mu.Unlock()
			w.look(time.Minute) // it is due
			w.works(true)
			w.look(time.Minute)
			close(w.hangs)
			w.Wait()
			if len(w.lost) > 0 {
				t.Errorf("done to a container at work: %v", w.lost)
			}
			w.works(false)
			w.said()
			w.spend(99)
			if got := w.said(); strings.Contains(got, "take c0000") || strings.Contains(got, "stop 30s") {
				t.Errorf("before it was idle for long enough again: %s", got)
			}
			w.spend(10)
			if got := w.said(); !strings.Contains(got, map[bool]string{true: "take c0000", false: "stop 30s c0000"}[live]) {
				t.Errorf("it is forgotten: %s", got)
			}
		})
	}
}

// However many containers an engine that hangs is to do something to, the others'
// owners are warned in time, and told where their work has made that void.
func TestAnEngineThatHangsKeepsNobodyFromBeingWarned(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t, 20)
		w.works(true)
		w.spend(60)
		w.works(false)
		w.spend(51)
		w.said()
		hangs := make(chan struct{})
		w.mu.Lock()
		w.hangs = hangs
		w.mu.Unlock()
		hears := func(within int, what string) {
			t.Helper()
			for said := ""; !strings.Contains(said, what); said += w.said() {
				if within--; within < 0 {
					t.Errorf("nobody hears %q: %s", what, said)
					return
				}
				w.look(time.Minute)
				bubble.Wait()
			}
		}
		hears(42, "GPU 0000 of your container nc0000 is taken back in 20m")
		hears(20, "GPU 0000 of your container nc0000 is taken back in 5m")
		w.works(true)
		hears(2, "hush c0000")
		close(hangs)
		w.Wait()
	})
}

func TestWhoIsKilledWhileTheyTellTellsAgain(t *testing.T) {
	w := newWorld(t, 1)
	told := 0
	w.tells = func() {
		lives, err := w.store.Lives(t.Context())
		if stage := lives["c0000"].Warned.Idle.Stage; err != nil || stage != told {
			t.Errorf("warning %d is said, and %d are stored: %v", told+1, stage, err)
		}
		told++
	}
	w.spend(106)
	if told != 2 {
		t.Errorf("told %d times", told)
	}
}

func TestWhoWorksOnWhileTheyAreToldIsWarnedAnew(t *testing.T) {
	w := newWorld(t, 1)
	w.spend(105)
	w.tells = func() {
		w.tells = nil
		w.works(true)
		w.look(time.Minute)
		w.works(false)
	}
	w.spend(1)
	w.said()
	w.spend(105)
	if got := w.said(); !strings.Contains(got, "taken back in 20m") || !strings.Contains(got, "taken back in 5m") || !strings.Contains(got, "take c0000") {
		t.Errorf("got %s", got)
	}
}

func TestACrashForgetsNoWork(t *testing.T) {
	w := newWorld(t, 1)
	w.spend(107)
	w.said()
	w.works(true)
	w.look(20 * time.Second) // sooner than what is remembered is stored anyway
	w.reopen()
	w.works(false)
	w.spend(79)
	if got := w.said(); strings.Contains(got, "taken back") {
		t.Errorf("it was idle for 79m only: %s", got)
	}
	w.spend(30)
	if got := w.said(); !strings.Contains(got, "take c0000") {
		t.Errorf("it is forgotten: %s", got)
	}
}

func TestWhatWasDueBeforeACrashIsLookedAtFirst(t *testing.T) {
	w := newWorld(t, 1)
	w.broken["launcher"] = true
	w.spend(120) // its GPU can't be taken
	w.broken = map[string]bool{"sampler": true}
	w.works(true)
	w.reopen()
	w.spend(1) // of what it does, nothing is known by one look
	if len(w.lost) > 0 {
		t.Errorf("done to a container at work: %v", w.lost)
	}
}

func TestACrashAfterItsGPUWasTakenShortensNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.bound = "defaults: {idle_timeout: 100m, without_gpu: {idle_timeout: 50m}}"
	w.reopen()
	w.spend(130)
	for i := 0; !strings.Contains(w.said(), "take c0000"); i++ {
		if i > 60 {
			t.Fatal("its GPU isn't taken")
		}
		w.spend(1)
	}
	w.reopen()
	w.spend(30)
	if got := w.said(); strings.Contains(got, "stop 30s c0000") {
		t.Errorf("stopped after 30m of 50m: %s", got)
	}
	w.spend(30)
	if got := w.said(); !strings.Contains(got, "stop 30s c0000") || strings.Count(got, "is stopped in") == 0 {
		t.Errorf("it isn't warned and stopped: %s", got)
	}
}

// One may extend what was started a moment ago, which no pass has seen yet.
func TestAnExtensionIsOfTheRunThatGoesOn(t *testing.T) {
	w := newWorld(t, 1)
	w.bound = "defaults: {max_runtime: 10h, max_extension: 3h}"
	w.reopen()
	w.spend(2)
	document, _, _ := limits.Decode(limits.File{Name: "l", Data: []byte(w.bound)}, nil)
	bound := document.Resolve(account.Account{Name: "alice"}, begin)
	r, _ := w.ledger.Record("c0000")
	o, _ := w.observed(r.ContainerID)
	o.StartedAt = begin.Add(time.Minute)
	w.mu.Lock()
	w.seen[r.ContainerID] = o
	w.mu.Unlock()
	if err := w.Extend(t.Context(), r, bound, 2*time.Hour, false); err != nil {
		t.Fatal(err)
	}
	w.spend(2)
	if life := w.Clock(r.ID).Life; life.Extended != 2*time.Hour || !life.Started.Equal(o.StartedAt) {
		t.Errorf("its life is %+v", life)
	}
	o.State = "exited"
	w.mu.Lock()
	w.seen[r.ContainerID] = o
	w.mu.Unlock()
	if err := w.Extend(t.Context(), r, bound, time.Minute, false); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("one that doesn't run: %v", err)
	}
}

func TestExtensionsAndKeepingHaveBudgets(t *testing.T) {
	w := newWorld(t, 3)
	w.bound = "defaults: {max_runtime: 10h, max_extension: 3h, keep: {containers: 1, disk: 1g}}"
	w.reopen()
	for i := range 3 { // all of one person's
		if err := w.ledger.Update(t.Context(), fmt.Sprintf("c%04d", i), func(r *container.Record) { r.UID = 1000 }); err != nil {
			t.Fatal(err)
		}
	}
	w.spend(1)
	document, _, _ := limits.Decode(limits.File{Name: "l", Data: []byte(w.bound)}, nil)
	bound := document.Resolve(account.Account{Name: "alice"}, begin)
	first, _ := w.ledger.Record("c0000")
	second, _ := w.ledger.Record("c0001")
	left := func() time.Duration {
		for _, d := range w.Clock("c0000").Deadlines {
			if d.Cause == lifecycle.Runtime {
				return d.Limit
			}
		}
		return 0
	}
	if err := w.Extend(t.Context(), first, bound, 2*time.Hour, false); err != nil {
		t.Error(err)
	}
	if err := w.Extend(t.Context(), first, bound, 2*time.Hour, false); !errors.Is(err, problem.ErrLimit) {
		t.Errorf("beyond the budget: %v", err)
	}
	declared := first
	declared.Lasts = time.Hour
	if err := w.Extend(t.Context(), declared, bound, time.Minute, false); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("one that declared its time: %v", err)
	}
	if err := w.Extend(t.Context(), declared, bound, 2*time.Hour, true); !errors.Is(err, problem.ErrLimit) {
		t.Errorf("by an administrator, beyond the budget: %v", err)
	}
	w.spend(1)
	if left() != 12*time.Hour {
		t.Errorf("it may run for %s", left())
	}
	if err := w.Keep(t.Context(), first, bound, 2<<30); !errors.Is(err, problem.ErrLimit) {
		t.Errorf("a large one: %v", err)
	}
	for range 2 { // the second time nothing changes
		if err := w.Keep(t.Context(), first, bound, 1<<20); err != nil {
			t.Error(err)
		}
	}
	if err := w.Keep(t.Context(), second, bound, 0); !errors.Is(err, problem.ErrLimit) || !strings.Contains(err.Error(), "nc0000") {
		t.Errorf("one more: %v", err)
	}
	if err := w.Unkeep(t.Context(), "c0000"); err != nil {
		t.Error(err)
	}
	if err := w.Keep(t.Context(), second, bound, 0); err != nil {
		t.Error(err)
	}
	w.reopen()
	if !w.Clock("c0001").Life.Kept || w.Clock("c0000").Life.Kept || w.Clock("c0000").Life.Extended != 2*time.Hour {
		t.Error("what was asked for is forgotten")
	}
}

func TestExemptionsAndProtectionOutliveTheProcess(t *testing.T) {
	w := newWorld(t, 2)
	e := lifecycle.Exemption{Login: "alice", From: []lifecycle.Cause{lifecycle.Idle}, Reason: "thesis", By: "root", Made: begin, Until: begin.Add(200 * time.Minute)}
	if err := w.Exempt(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := w.Protect(t.Context(), "c0001", true); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	w.spend(199)
	w.want(t, "")
	w.spend(150)
	if got := w.said(); !strings.Contains(got, "take c0000") || strings.Contains(got, "c0001") {
		t.Errorf("after its end: %s", got)
	}
	if err := w.Unexempt(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	if err := w.Unexempt(t.Context(), "alice"); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("twice: %v", err)
	}
}

// An hour of everything that may go wrong, with times in minutes: no container
// that works loses anything, and no idle one is forgotten.
func TestChaos(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t, 12)
	w.bound = "defaults: {idle_timeout: 5m, max_runtime: null, container_hold_after_stop: 5m, policies: {grace_period: 1m}}"
	w.live = false
	w.reopen()
	for i := range 6 {
		w.busy[fmt.Sprintf("c%04d", i)] = true
	}
	for range 60 {
		w.mu.Lock()
		w.broken = map[string]bool{}
		for _, what := range []string{"engine", "launcher", "store", "accounts", "sampler", "driver"} {
			w.broken[what] = random.IntN(5) == 0
		}
		if random.IntN(5) == 0 {
			w.clock.Wall = w.clock.Wall.Add(time.Duration(random.IntN(7200)-3600) * time.Second)
		}
		w.mu.Unlock()
		if random.IntN(6) == 0 {
			w.reopen()
		}
		w.spend(1)
	}
	w.mu.Lock()
	w.broken = map[string]bool{}
	w.mu.Unlock()
	w.spend(30)
	if len(w.lost) > 0 {
		t.Errorf("done to containers at work: %v", w.lost)
	}
	for i := range 12 {
		_, there := w.observed(fmt.Sprintf("ec%04d", i))
		if there != (i < 6) {
			t.Errorf("container %d is there: %t", i, there)
		}
	}
}

// BenchmarkPass is a pass over many containers at rest.
func BenchmarkPass(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b, n)
			w.spend(1)
			for b.Loop() {
				w.mu.Lock()
				w.clock.Steady += time.Second
				w.clock.Wall = w.clock.Wall.Add(time.Second)
				w.mu.Unlock()
				w.Pass(b.Context())
			}
		})
	}
}
