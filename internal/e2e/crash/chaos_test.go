package crash_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/docker/scratch"
	"ds01.dev/ds01/internal/e2e/lab"
)

// Times of the hour of chaos: a second stands for some minutes of the limits that
// ship.
const (
	chaosGrace   = time.Second
	chaosIdle    = 8 * time.Second // of a container that has a GPU
	chaosBare    = 6 * time.Second // of one without
	chaosRuntime = 12 * time.Second
	chaosHold    = 4 * time.Second
	chaosUnused  = 5 * time.Second // of one that was made and not started
	chaosLast    = 0.6             // of a time, when its owner is warned last
)

// chaosLimits has the login of who may run for chaosRuntime, then of who is always
// in the grace after a start.
const chaosLimits = `
defaults:
  {max_mig_instances: null, max_gpu_share: null, max_containers_per_user: null, memory: 64m, memory_swap: 64m, shm_size: 16m, max_cpus: 1, stop_timeout: 1s,
   idle_timeout: 8s, max_runtime: null, gpu_hold_after_stop: 2s, container_hold_after_stop: 4s, without_gpu: {idle_timeout: 6s, container_hold_after_stop: 4s},
   policies: {grace_period: 1s, first_warning: 0.3, last_warning: 0.6, idle_detection_window: 2, created_container_timeout: 5s, high_demand_threshold: 1, high_demand_idle_reduction: 1}}
groups:
  short: {members: [%s], max_runtime: 12s}
  fresh: {members: [%s], policies: {grace_period: 1h}}
`

// forgotten is how long after the last fault something that is due may take: once
// through every time there is, and a look of ds01 at what events didn't tell.
const forgotten = time.Minute

// Chaos is people who work, rest, come and go, while everything that ds01 stands on
// fails, by itself and together.
type chaos struct {
	*cast
	dice *rand.Rand
	disk string // the daemon's own, which may be full

	active map[string]time.Time // since when something fails
	drives []func() bool        // what the simulated driver is still to be told
	sick   []apitype.GPU
	ill    map[string]time.Time // by slot: since when a card is
	up     bool                 // the daemon has answered since it was started
	absent span                 // of the daemon
	began  time.Time
	log    func(format string, args ...any)
}

// A kind of fault, with what it happens to: two of the same at once are one.
type kind struct {
	name, of   string
	begin, end func(*chaos)
}

func kindsOfFaults() []kind {
	return []kind{
		{"ds01 is killed", "ds01", (*chaos).killDaemon, func(c *chaos) { c.l.Spawn() }},
		{"dockerd hangs", "dockerd", func(c *chaos) { c.must(c.l.Engine.Hang(scratch.Dockerd)) }, func(c *chaos) { c.must(c.l.Engine.Continue(scratch.Dockerd)) }},
		{"containerd hangs", "containerd", func(c *chaos) { c.must(c.l.Engine.Hang(scratch.Containerd)) }, func(c *chaos) { c.must(c.l.Engine.Continue(scratch.Containerd)) }},
		{"dockerd is killed", "dockerd", func(c *chaos) { c.must(c.l.Engine.Kill()) }, (*chaos).restartEngine},
		{"cards can't be read", "driver", func(c *chaos) { c.ail("--unreadable", c.dice.IntN(2) == 0) }, func(c *chaos) { c.heal("--unreadable=false") }},
		{"a card is lost", "driver", func(c *chaos) { c.ail("--lost", false) }, func(c *chaos) { c.heal("--lost=false") }},
		{"the disk is full", "disk", (*chaos).fillDisk, func(c *chaos) { drain(c.t, c.disk) }},
	}
}

// TestAnHourOfChaos: whatever fails, who works or may rest keeps what they have;
// everybody else is warned and loses theirs, not before their time, and soon after
// the last fault nothing that is due is left.
func TestAnHourOfChaos(t *testing.T) {
	c := newChaos(t)
	kinds := kindsOfFaults()
	rounds := len(kinds)
	if lab.Long() {
		rounds *= 9
	}
	later := kinds[1:] // what ds01 has forgotten shows after a while
	c.dice.Shuffle(len(later), func(i, j int) { later[i], later[j] = later[j], later[i] })
	for i := range rounds {
		fails := kinds[i%len(kinds)]
		also := kinds[c.dice.IntN(len(kinds))]
		switch both := fails.of != also.of && c.dice.IntN(2) == 0; {
		case !both:
			c.round(fails)
		case also.of == "driver": // it is told through ds01, before that fails
			c.round(also, fails)
		default:
			c.round(fails, also)
		}
	}
	c.log("the last fault is over")
	c.curtain()
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	l := start(t, lab.Options{
		NoStart: true, AtStart: true, Users: []string{"alice", "bob", "erin", "gus", "max", "tess", "ann"}, Config: "lifecycle: {every: 0.5s}\n",
		GPU: "{provider: sim, sim: {gpus: [" + strings.TrimSuffix(strings.Repeat("a100-80gb, ", 16), ", ") + "]}}",
	})
	l.Write("etc/ds01/resource-limits.yaml", fmt.Sprintf(chaosLimits, l.Login("max"), l.Login("gus")))
	c := &chaos{disk: filepath.Join(l.Root, "var"), active: map[string]time.Time{}, ill: map[string]time.Time{}, began: time.Now()}
	c.log = func(format string, args ...any) {
		t.Logf("%6.1fs "+format, append([]any{time.Since(c.began).Seconds()}, args...)...)
	}
	lab.Must(t, os.MkdirAll(c.disk, 0o755))
	lab.Must(t, unix.Mount("tmpfs", c.disk, "tmpfs", 0, "size=8m,mode=755"))
	l.StartDaemon()
	c.up = true
	seed := seedOf(t)
	c.dice = rand.New(rand.NewPCG(seed, 99))
	c.cast = gather(t, l, seed, c.log)
	return c
}

func (c *chaos) must(err error) {
	c.t.Helper()
	lab.Must(c.t, err)
}

// round has one thing fail, and others meanwhile.
func (c *chaos) round(fails kind, also ...kind) {
	c.begin(fails)
	c.pass(c.lasts() / 2)
	for _, k := range also {
		c.begin(k)
		c.pass(c.lasts())
		c.finish(k)
	}
	c.pass(c.lasts() / 2)
	c.finish(fails)
	c.await("ds01 is up again", func() bool { return c.up && len(c.drives) == 0 })
	c.pass(time.Duration(300+c.dice.IntN(1500)) * time.Millisecond)
}

// lasts rolls for how long something fails, now and then for longer than anybody
// may be idle.
func (c *chaos) lasts() time.Duration {
	d := time.Duration(300+c.dice.IntN(3000)) * time.Millisecond
	if c.dice.IntN(8) == 0 {
		d += chaosIdle
	}
	return d
}

func (c *chaos) begin(k kind) {
	c.log("%s", k.name)
	c.active[k.of] = time.Now()
	k.begin(c)
}

func (c *chaos) finish(k kind) {
	k.end(c)
	c.note(k.of, span{c.active[k.of], time.Now()})
	delete(c.active, k.of)
	c.log("no more: %s", k.name)
}

// pass lets time go by.
func (c *chaos) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c.tick()
	}
}

func (c *chaos) await(what string, ok func() bool) {
	c.t.Helper()
	c.l.Eventually(what, time.Minute, func() bool { c.tick(); return ok() })
}

// tick is the service manager, which starts a daemon again that has ended, and
// whoever drives the simulated cards.
func (c *chaos) tick() {
	switch {
	case !c.active["ds01"].IsZero():
		return
	case c.l.Ended():
		if c.up {
			c.wrong("ds01 has ended by itself:\n%s", tail(c.l.Log()))
			c.away()
		}
		time.Sleep(100 * time.Millisecond)
		c.l.Spawn()
	case !c.up && c.l.Up():
		c.up, c.absent.to = true, time.Now()
		c.note("ds01", c.absent)
	}
	for c.up && len(c.drives) > 0 && c.drives[0]() {
		c.drives = c.drives[1:]
	}
}

func (c *chaos) away() { c.up, c.absent = false, span{from: time.Now()} }

func tail(text string) string { return text[max(0, len(text)-3000):] }

func (c *chaos) killDaemon() {
	c.l.EndDaemon(syscall.SIGKILL)
	if c.up {
		c.away()
	}
}

func (c *chaos) restartEngine() {
	c.must(c.l.Engine.Continue(scratch.Containerd)) // dockerd comes up with it only
	c.must(c.l.Engine.Restart(c.t.Context()))
}

// fillDisk waits for who has begun to work a moment ago: that is stored.
func (c *chaos) fillDisk() {
	c.turning.Lock()
	defer c.turning.Unlock()
	fill(c.t, c.disk)
}

// ail lets a card, or all of them, be ill in a way.
func (c *chaos) ail(how string, all bool) {
	if c.sick = c.cards; !all {
		i := c.dice.IntN(len(c.cards))
		c.sick = c.cards[i : i+1]
	}
	for _, card := range c.sick {
		c.tell(card.UUID, how, func(_, heard time.Time) { c.ill[card.Slot] = heard })
	}
}

// heal lets those cards be well again.
func (c *chaos) heal(how string) {
	for _, card := range c.sick {
		c.tell(card.UUID, how, func(said, _ time.Time) { c.note("card "+card.Slot, span{c.ill[card.Slot], said}) })
	}
}

// tell has a simulated card told something, once there is somebody who hears it.
func (c *chaos) tell(card, what string, done func(said, heard time.Time)) {
	c.drives = append(c.drives, func() bool {
		said := time.Now()
		if c.l.DS01("root", "gpu", "sim", "set", card, what).Code != 0 {
			return false
		}
		done(said, time.Now())
		return true
	})
}

// curtain ends the hour: all reasons to be let be end, and everybody's containers go.
func (c *chaos) curtain() {
	over := time.Now()
	defer func() {
		if c.t.Failed() {
			c.log("the engine has still: %v", c.remaining())
		}
	}()
	c.unharmed()
	c.release()
	c.l.Eventually("nothing that is due is left", forgotten, func() bool { return len(c.remaining()) == 0 })
	c.log("all is done %.1f s after the last fault", time.Since(over).Seconds())
	lab.Clean(c.t, c.l)
	c.judge()
	c.l.OK("root", c.l.Binary(), "audit", "verify", filepath.Join(c.disk, "log/ds01"))
	c.l.EndDaemon(syscall.SIGTERM)
	c.must(unix.Unmount(c.disk, 0))
}
