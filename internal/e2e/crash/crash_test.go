package crash_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// crashLimits give devices back soon, so that claims pass through every state.
const crashLimits = `defaults: {max_mig_instances: 2, max_gpu_share: null, max_containers_per_user: null, gpu_hold_after_stop: 2s,
  memory: 64m, memory_swap: 64m, shm_size: 16m, max_cpus: 1}
`

// pendingIsSettled is how long a claim whose create was never answered may
// take to be decided.
const pendingIsSettled = 40 * time.Second

func kills() int {
	if lab.Long() {
		return 100
	}
	return 10
}

func TestClaimsSurviveKillsOfTheDaemonUnderLoad(t *testing.T) {
	people := []string{"ann", "ben", "cid", "dot"}
	l := start(t, lab.Options{Users: append(people, "eve"), Limits: crashLimits})
	seed := seedOf(t)
	dice := rand.New(rand.NewPCG(seed, 99))
	w := lab.PlaceWitness(t, l, "eve")
	work := startLoad(t, l, seed, people...)
	for range kills() {
		work.underWay()
		time.Sleep(time.Duration(100+dice.IntN(1400)) * time.Millisecond)
		l.EndDaemon(syscall.SIGKILL)
		work.during(func() {
			l.StartDaemon()
			lab.Sound(t, l, 20*time.Second)
			w.Unharmed(t, l)
		})
	}
	work.stop()
	lab.Settled(t, l, pendingIsSettled)
	w.Unharmed(t, l)
	removeEverything(t, l, append(people, "eve"))
}

// removeEverything lets everybody remove what they have, and checks that
// nothing is left.
func removeEverything(t *testing.T, l *lab.Lab, people []string) {
	t.Helper()
	var all []granted
	for _, who := range people {
		for _, c := range l.Containers() {
			if c.UID == l.UID(who) {
				all = append(all, granted{who, c.ID})
			}
		}
	}
	removeAll(t, l, all)
	lab.Clean(t, l)
}

func TestClaimsSurviveEngineRestartsUnderLoad(t *testing.T) {
	people := []string{"ann", "ben", "cid"}
	l := start(t, lab.Options{Users: append(people, "eve"), Limits: crashLimits})
	seed := seedOf(t)
	dice := rand.New(rand.NewPCG(seed, 99))
	w := lab.PlaceWitness(t, l, "eve")
	work := startLoad(t, l, seed, people...)
	for round := range max(kills()/2, 4) {
		work.underWay()
		time.Sleep(time.Duration(200+dice.IntN(1000)) * time.Millisecond)
		if round%2 == 0 {
			if err := l.Engine.Kill(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(dice.IntN(500)) * time.Millisecond)
		}
		if round%4 == 3 {
			l.EndDaemon(syscall.SIGKILL) // both at once
		}
		if err := l.Engine.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		work.during(func() {
			if round%4 == 3 {
				l.StartDaemon()
			}
			lab.Sound(t, l, 20*time.Second)
			w.Unharmed(t, l)
		})
	}
	work.stop()
	lab.Settled(t, l, pendingIsSettled)
	w.Unharmed(t, l)
	removeEverything(t, l, append(people, "eve"))
}
