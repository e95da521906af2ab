package crash_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// eightCards is a host with eight devices.
const eightCards = "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb, a100-80gb, a100-80gb, h100-80gb, h100-80gb, h100-80gb, h100-80gb]}}"

func eightPeople() []string {
	people := make([]string, 8)
	for i := range people {
		people[i] = fmt.Sprintf("u%d", i)
	}
	return people
}

// roomy lets one person have every device of the host, so that only the lack
// of devices refuses.
const roomy = `defaults: {max_mig_instances: null, max_gpu_share: null, max_containers_per_user: null,
  memory: 64m, memory_swap: 64m, shm_size: 16m, max_cpus: 1}
`

// rushes returns how many rounds a rush has.
func rushes() int {
	if lab.Long() {
		return 20
	}
	return 3
}

func TestOfSixtyFourRequestsForEightDevicesExactlyEightAreGranted(t *testing.T) {
	l := start(t, lab.Options{GPU: eightCards, Users: eightPeople(), Limits: roomy})
	for round := range rushes() {
		granted, refused := rush(t, l)
		if len(granted) != 8 || len(refused) != 56 {
			t.Errorf("round %d: %d granted, %d refused, not 8 and 56", round, len(granted), len(refused))
		}
		for _, why := range refused {
			if !strings.Contains(why, "GPU not granted") || !strings.Contains(why, "you asked for 1 device, free now: 0") || !strings.Contains(why, "gpu list") {
				t.Errorf("round %d: an unclear refusal: %s", round, why)
			}
		}
		everyDeviceOnce(t, l)
		lab.Settled(t, l, 10*time.Second)
		removeAll(t, l, granted)
		lab.Clean(t, l)
	}
}

func TestOfSixtyFourRequestsWithAQuotaOfOneEachPersonGetsOne(t *testing.T) {
	l := start(t, lab.Options{GPU: eightCards, Users: eightPeople(), Limits: roomy + "default_group: student\ngroups: {student: {max_mig_instances: 1}}\n"})
	for round := range rushes() {
		granted, refused := rush(t, l)
		if len(granted) != 8 || len(refused) != 56 {
			t.Errorf("round %d: %d granted, %d refused, not 8 and 56", round, len(granted), len(refused))
		}
		owners := map[string]bool{}
		for _, g := range granted {
			owners[g.owner] = true
		}
		if len(owners) != 8 {
			t.Errorf("round %d: %d people hold the devices, not 8", round, len(owners))
		}
		for _, why := range refused {
			if !strings.Contains(why, "you hold 1/1 devices") || !strings.Contains(why, "max_mig_instances is 1 (groups.student, resource-limits.yaml:4)") {
				t.Errorf("round %d: an unclear refusal: %s", round, why)
			}
		}
		everyDeviceOnce(t, l)
		lab.Settled(t, l, 10*time.Second)
		removeAll(t, l, granted)
		lab.Clean(t, l)
	}
}

// granted is one container that a rush brought.
type granted struct{ owner, id string }

// rush lets each of eight people send eight docker run at once, and returns
// what came of them.
func rush(t *testing.T, l *lab.Lab) (got []granted, refused []string) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	gun := make(chan struct{})
	for _, who := range eightPeople() {
		for range 8 {
			all.Go(func() {
				<-gun
				r := l.Docker(who, "run", "-d", "--gpus", "1", "busybox", "sleep", "1000")
				mu.Lock()
				defer mu.Unlock()
				if r.Code == 0 {
					got = append(got, granted{who, r.Out})
				} else {
					refused = append(refused, r.Err)
				}
			})
		}
	}
	close(gun)
	all.Wait()
	return got, refused
}

// everyDeviceOnce asks the engine which container may open which device.
func everyDeviceOnce(t *testing.T, l *lab.Lab) {
	t.Helper()
	var slots []string
	for _, c := range l.EngineContainers() {
		if !c.State.Running {
			t.Errorf("%s is left, %s", c.Name, c.State.Status)
		}
		slots = append(slots, c.Slots()...)
	}
	slices.Sort(slots)
	if want := []string{"0", "1", "2", "3", "4", "5", "6", "7"}; !slices.Equal(slots, want) {
		t.Errorf("the containers may open the devices %v, not each of %v once", slots, want)
	}
}

func removeAll(t *testing.T, l *lab.Lab, all []granted) {
	t.Helper()
	var each sync.WaitGroup
	for _, g := range all {
		each.Go(func() {
			r := l.Docker(g.owner, "rm", "-f", g.id)
			if r.Code != 0 && !strings.Contains(r.Err, "already in progress") && !strings.Contains(r.Err, "No such container") {
				t.Errorf("docker rm -f: %s", r.Err)
			}
		})
	}
	each.Wait()
}
