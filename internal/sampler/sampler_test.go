package sampler_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/sampler"
)

// world is a host as the test says it is. Its counters grow where a test lets them.
type world struct {
	now        time.Duration
	engineless bool // nobody can sit at a terminal
	containers []sampler.Container
	groups     map[string]*group // by container id
	processes  map[int]*process  // by pid
	readings   map[string]gpu.Reading
	driver     error
	cards      []gpu.Card
	members    map[string]map[int]bool // by container id
	terminals  sampler.Terminals

	mu       sync.Mutex
	waitDisk map[string]chan struct{} // the kernel doesn't answer until it is closed
}

type group struct {
	worked     time.Duration
	processors float64
	disk       map[uint64]int64
	asked      int   // of its processors
	fails      error // of all but the disk
	disks      error
}

type process struct {
	network map[string]int64
	fails   error
	open    int
}

// A handle is a process as it is held open.
type handle struct {
	*process
	ended bool
}

func (h *handle) Close() error { h.open--; return nil }
func (h *handle) Network() (map[string]int64, error) {
	if h.ended = h.ended || h.fails != nil; h.ended {
		return nil, errors.New("it has ended")
	}
	return maps.Clone(h.network), nil
}

func (w *world) Worked(id string) (time.Duration, error) {
	return w.groups[id].worked, w.groups[id].fails
}

func (w *world) Processors(id string, _ map[string]float64) (float64, error) {
	w.groups[id].asked++
	return w.groups[id].processors, w.groups[id].fails
}

func (w *world) Transferred(id string) (map[uint64]int64, error) {
	w.mu.Lock()
	wait := w.waitDisk[id]
	w.mu.Unlock()
	if wait != nil {
		<-wait
	}
	if err := w.groups[id].disks; err != nil {
		return nil, err
	}
	return maps.Clone(w.groups[id].disk), nil
}

// start returns a sampler of a world with these containers, each idle with the
// number of its place in the list as pid.
func start(ids ...string) (*world, *sampler.Sampler) {
	w := &world{groups: map[string]*group{}, processes: map[int]*process{}, members: map[string]map[int]bool{}, waitDisk: map[string]chan struct{}{}}
	for i, id := range ids {
		w.containers = append(w.containers, sampler.Container{Claim: "claim-" + id, ID: id, PID: i + 1})
		w.groups[id] = &group{processors: 4, disk: map[uint64]int64{}}
		w.processes[i+1] = &process{network: map[string]int64{"eth0": 0}}
		w.members[id] = map[int]bool{i + 1: true}
	}
	return w, sampler.New(sampler.Parts{
		Running: func() []sampler.Container { return slices.Clone(w.containers) },
		Groups:  w, Group: func(_ int, id string) string { return id },
		Process: func(c sampler.Container) (sampler.Process, error) {
			p, ok := w.processes[c.PID]
			if !ok {
				return nil, fs.ErrNotExist
			}
			p.open++
			return &handle{process: p}, nil
		},
		Readings: func(context.Context) (map[string]gpu.Reading, error) { return w.readings, w.driver },
		Cards:    func() []gpu.Card { return w.cards }, Members: func(c sampler.Container) map[int]bool { return w.members[c.ID] },
		Clock: func() time.Duration { return w.now }, Terminals: &w.terminals, Reached: func() bool { return !w.engineless }, Log: slog.New(slog.DiscardHandler),
	})
}

func known(v float64) lifecycle.Reading { return lifecycle.Known(v) }

// idle is what a container without a device does that does nothing for two minutes.
var idle = lifecycle.Sample{Over: 2 * time.Minute, GPU: known(0), CPU: known(0), Network: known(0), Disk: known(0), Terminals: known(0)}

func TestWhatAContainerDoesIsWhatHasGrownBetweenTwoLooks(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(w *world, g *group, p *process)
		change    func(s *lifecycle.Sample)
	}{
		"nothing":              {func(*world, *group, *process) {}, func(*lifecycle.Sample) {}},
		"all four processors":  {func(_ *world, g *group, _ *process) { g.worked += 8 * time.Minute }, func(s *lifecycle.Sample) { s.CPU = known(100) }},
		"one of four":          {func(_ *world, g *group, _ *process) { g.worked += 2 * time.Minute }, func(s *lifecycle.Sample) { s.CPU = known(25) }},
		"it may use fewer now": {func(_ *world, g *group, _ *process) { g.worked += 2 * time.Minute; g.processors = 1 }, func(s *lifecycle.Sample) { s.CPU = known(100) }},
		"it may use more now":  {func(_ *world, g *group, _ *process) { g.worked += 2 * time.Minute; g.processors = 64 }, func(s *lifecycle.Sample) { s.CPU = known(25) }},
		"its counter fell":     {func(_ *world, g *group, _ *process) { g.worked -= time.Second }, func(s *lifecycle.Sample) { s.CPU = lifecycle.Reading{} }},
		"traffic":              {func(_ *world, _ *group, p *process) { p.network["eth0"] += 600 }, func(s *lifecycle.Sample) { s.Network = known(300) }},
		"a network more, and one that began anew": {
			func(_ *world, _ *group, p *process) { p.network = map[string]int64{"eth0": 40, "eth1": 60} },
			func(s *lifecycle.Sample) { s.Network = known(50) },
		},
		"a network less":        {func(_ *world, _ *group, p *process) { p.network = map[string]int64{} }, func(*lifecycle.Sample) {}},
		"disks":                 {func(_ *world, g *group, _ *process) { g.disk = map[uint64]int64{1: 4000, 2: 2000} }, func(s *lifecycle.Sample) { s.Disk = known(3000) }},
		"its group isn't read":  {func(_ *world, g *group, _ *process) { g.fails = errors.New("no") }, func(s *lifecycle.Sample) { s.CPU = lifecycle.Reading{} }},
		"its disks aren't read": {func(_ *world, g *group, _ *process) { g.disks = errors.New("no") }, func(s *lifecycle.Sample) { s.Disk = lifecycle.Reading{} }},
		"nothing counts disks": {func(_ *world, g *group, _ *process) {
			g.disks = fmt.Errorf("no: %w", errors.ErrUnsupported)
		}, func(s *lifecycle.Sample) { s.Disk = lifecycle.Never() }},
		"its first process has ended":  {func(_ *world, _ *group, p *process) { p.network, p.fails = nil, errors.New("no") }, func(s *lifecycle.Sample) { s.Network = lifecycle.Reading{} }},
		"nobody can sit at a terminal": {func(w *world, _ *group, _ *process) { w.engineless = true }, func(s *lifecycle.Sample) { s.Terminals = lifecycle.Reading{} }},
		"somebody has, before nobody could": {
			func(w *world, _ *group, _ *process) { w.terminals.Open("a").Typed(); w.engineless = true },
			func(s *lifecycle.Sample) { s.Terminals = known(1) },
		},
		"somebody typed at two terminals": {func(w *world, _ *group, _ *process) {
			w.terminals.Open("a").Typed()
			gone := w.terminals.Open("a")
			gone.Typed()
			gone.Close()
			w.terminals.Open("a")
			w.terminals.Open("another").Typed()
		}, func(s *lifecycle.Sample) { s.Terminals = known(2) }},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := start("a")
			w.groups["a"].worked, w.processes[1].network["eth0"] = time.Hour, 1000
			if got := s.Pass(t.Context()); len(got) != 0 {
				t.Fatalf("at first sight: %+v", got)
			}
			c.meanwhile(w, w.groups["a"], w.processes[1])
			w.now += 2 * time.Minute
			want := idle
			c.change(&want)
			if got := s.Pass(t.Context()); len(got) != 1 || got["claim-a"] != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// A pass tells of what was since the one before, and of nothing before that.
func TestEachPassBeginsWhereTheLastEnded(t *testing.T) {
	w, s := start("a")
	s.Pass(t.Context())
	w.groups["a"].worked, w.groups["a"].disk[8], w.processes[1].network["eth0"] = time.Minute, 500, 500
	terminal, gone := w.terminals.Open("a"), w.terminals.Open("a")
	terminal.Typed()
	gone.Typed()
	gone.Close()
	w.now += 2 * time.Minute
	if got := s.Pass(t.Context())["claim-a"]; got.CPU != known(12.5) || got.Disk != known(250) || got.Network != known(250) || got.Terminals != known(2) {
		t.Errorf("%+v", got)
	}
	w.now += 2 * time.Minute
	if got := s.Pass(t.Context())["claim-a"]; got != idle {
		t.Errorf("%+v, want %+v", got, idle)
	}
	terminal.Close() // was not typed at since
	w.now += 2 * time.Minute
	if got := s.Pass(t.Context())["claim-a"]; got != idle {
		t.Errorf("%+v, want %+v", got, idle)
	}
	if got := s.Pass(t.Context())["claim-a"]; got != (lifecycle.Sample{Terminals: known(0), GPU: known(0)}) {
		t.Errorf("no time has passed, and yet: %+v", got)
	}
}

// TestWhatNobodyUsesIsNotAskedFor: most containers sleep most of the time.
func TestWhatNobodyUsesIsNotAskedFor(t *testing.T) {
	w, s := start("a")
	g := w.groups["a"]
	for _, step := range []struct {
		worked time.Duration
		asked  int
	}{{0, 1}, {0, 1}, {0, 1}, {time.Second, 2}, {0, 2}} {
		w.now += 2 * time.Minute
		g.worked += step.worked
		if s.Pass(t.Context()); g.asked != step.asked {
			t.Errorf("after %s more it was asked %d times for its processors, not %d", step.worked, g.asked, step.asked)
		}
	}
}

func TestAnotherRunOfAContainerIsSeenForTheFirstTime(t *testing.T) {
	for name, again := range map[string]func(*world){
		"another first process": func(w *world) { w.containers[0].PID, w.processes[7] = 7, &process{network: map[string]int64{}} },
		"the same number again": func(w *world) { w.containers[0].Started = time.Unix(5, 0) },
		"another container":     func(w *world) { w.containers[0].ID, w.groups["b"] = "b", &group{processors: 1} },
	} {
		t.Run(name, func(t *testing.T) {
			w, s := start("a")
			s.Pass(t.Context())
			again(w)
			w.now += time.Minute
			if got := s.Pass(t.Context()); len(got) != 0 {
				t.Errorf("%+v", got)
			}
			w.now += time.Minute
			if got := s.Pass(t.Context()); len(got) != 1 || got["claim-a"].Over != time.Minute {
				t.Errorf("after that: %+v", got)
			}
			w.containers = nil
			s.Pass(t.Context())
			for pid, p := range w.processes {
				if p.open != 0 {
					t.Errorf("process %d is held open", pid)
				}
			}
		})
	}
}

// A first process that was lost is looked for again: else the network of what runs
// on would never be known.
func TestAProcessThatWasLostIsOpenedAgain(t *testing.T) {
	w, s := start("a")
	p := w.processes[1]
	s.Pass(t.Context())
	p.fails = errors.New("it has ended")
	w.now += time.Minute
	s.Pass(t.Context())
	p.fails = nil
	for _, want := range []lifecycle.Reading{{}, known(0)} {
		w.now += time.Minute
		if got := s.Pass(t.Context())["claim-a"]; got.Network != want {
			t.Errorf("%+v, want %+v", got.Network, want)
		}
	}
	if p.open != 1 {
		t.Errorf("it is open %d times", p.open)
	}
}

func TestGPUsAreAsBusyAsTheBusiestOfThem(t *testing.T) {
	const untold = -1
	uses := func(percent int, pids ...int) gpu.Reading {
		r := gpu.Reading{UtilizationPercent: percent}
		for _, pid := range pids {
			r.Processes = append(r.Processes, gpu.Process{PID: pid})
		}
		return r
	}
	for name, c := range map[string]struct {
		holds    []string
		readings map[string]gpu.Reading
		driver   error
		members  map[int]bool
		want     lifecycle.Reading
	}{
		"it has none":                        {want: known(0)},
		"two cards":                          {holds: []string{"G0", "G1"}, readings: map[string]gpu.Reading{"G0": uses(3), "G1": uses(83)}, want: known(83)},
		"the driver doesn't answer":          {holds: []string{"G0"}, driver: errors.New("no"), want: lifecycle.Reading{}},
		"a card doesn't answer":              {holds: []string{"G0", "G1"}, readings: map[string]gpu.Reading{"G0": uses(3)}, want: lifecycle.Reading{}},
		"an instance that is told":           {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": uses(40), "G2": uses(untold)}, want: known(40)},
		"one that isn't, and nobody has":     {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": uses(untold), "G2": uses(untold)}, want: known(0)},
		"one that isn't, and it has open":    {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": uses(untold, 1), "G2": uses(untold)}, want: lifecycle.Reading{}},
		"one that another process has":       {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": uses(untold, 99), "G2": uses(untold)}, want: known(0)},
		"it is listed on the card alone":     {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": uses(untold), "G2": uses(untold, 1)}, want: lifecycle.Reading{}},
		"processes aren't told":              {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": {UtilizationPercent: untold, Unlisted: true}, "G2": uses(untold)}, want: lifecycle.Reading{}},
		"processes of the card aren't told":  {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": uses(untold), "G2": {UtilizationPercent: untold, Unlisted: true}}, want: lifecycle.Reading{}},
		"the card isn't told":                {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": uses(untold)}, want: lifecycle.Reading{}},
		"who is in the container isn't told": {holds: []string{"M0"}, readings: map[string]gpu.Reading{"M0": uses(untold, 99), "G2": uses(untold)}, members: map[int]bool{}, want: lifecycle.Reading{}},
		"one busy, one not told":             {holds: []string{"G0", "M0"}, readings: map[string]gpu.Reading{"G0": uses(99), "M0": uses(untold, 1), "G2": uses(untold)}, want: lifecycle.Reading{}},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := start("a")
			w.cards = []gpu.Card{{UUID: "G0"}, {UUID: "G1"}, {UUID: "G2", MIG: true, Instances: []gpu.Instance{{UUID: "M0"}, {UUID: "M1"}}}}
			w.containers[0].Devices, w.readings, w.driver = c.holds, c.readings, c.driver
			if c.members != nil {
				w.members["a"] = c.members
			}
			s.Pass(t.Context())
			w.now += time.Minute
			got := s.Pass(t.Context())["claim-a"]
			if got.GPU != c.want || got.Devices != (len(c.holds) > 0) || got.CPU != known(0) {
				t.Errorf("%+v, want GPU %+v", got, c.want)
			}
		})
	}
}

// A kernel that doesn't answer about one container costs a second once, and that
// container alone isn't known.
func TestADiskThatIsNotToldKeepsNobodyWaitingForLong(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w, s := start("a", "b")
		s.Pass(t.Context())
		wait := make(chan struct{})
		w.mu.Lock()
		w.waitDisk["a"] = wait
		w.mu.Unlock()
		for i, most := range []time.Duration{time.Second, 0} {
			began := time.Now()
			w.now += time.Minute
			got := s.Pass(t.Context())
			if took := time.Since(began); took != most {
				t.Errorf("pass %d took %s", i, took)
			}
			if got["claim-a"].Disk != (lifecycle.Reading{}) || got["claim-a"].CPU != known(0) || got["claim-b"].Disk != known(0) {
				t.Errorf("pass %d: %+v", i, got)
			}
		}
		w.mu.Lock()
		delete(w.waitDisk, "a")
		w.mu.Unlock()
		close(wait)
		bubble.Wait()
		for _, want := range []lifecycle.Reading{{}, known(0)} { // two looks make a sample
			w.now += time.Minute
			if got := s.Pass(t.Context())["claim-a"].Disk; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	})
}

func TestWhatIsNotToldIsCounted(t *testing.T) {
	w, s := start("a", "b", "c")
	w.containers[0].Devices, w.containers[1].Devices = []string{"G0"}, []string{"G1"}
	w.readings = map[string]gpu.Reading{"G1": {UtilizationPercent: 7}}
	w.groups["b"].disks, w.groups["c"].disks = fmt.Errorf("no: %w", errors.ErrUnsupported), errors.New("no disk")
	w.groups["a"].disks = w.groups["b"].disks
	w.groups["c"].fails = errors.New("no group")
	w.processes[2].fails = errors.New("no")
	for range 2 {
		if got := s.Gaps(); len(got) != 0 {
			t.Errorf("before anything was told: %+v", got)
		}
		s.Pass(t.Context())
		w.now += time.Minute
	}
	want := []sampler.Gap{
		{"GPU", false, 1, ""}, {"processor time", false, 1, "no group; no group; no disk"}, {"network", false, 1, "it has ended"}, {"disk", false, 1, "no group; no group; no disk"}, {"disk", true, 2, ""},
	}
	if got := s.Gaps(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
