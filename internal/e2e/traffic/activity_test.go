package traffic_test

import (
	"regexp"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/e2e/lab"
)

// typing is somebody who types into a command line until that ends.
func typing(line string) []string {
	return []string{"sh", "-c", "exec >/dev/null 2>&1; while sleep 0.2; do echo; done | script -qec '" + line + "' /dev/null"}
}

// TestWhatContainersDoIsToldApart has containers each do one thing that keeps them
// from being idle, and two that do nothing: one sleeps, and to the other a program
// talks as an editor does to its server.
func TestWhatContainersDoIsToldApart(t *testing.T) {
	l := start(t, lab.Options{
		NetNS: true, Users: []string{"alice"}, Config: "lifecycle: {every: 1s}\n",
		GPU: "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb], mig: {1: [1g.10gb, 1g.10gb]}}}",
		Limits: `defaults:
  {max_containers_per_user: null, max_mig_instances: 3, max_gpu_share: null, allow_full_gpu: true, max_cpus: 1, memory: 64m, memory_swap: 64m, shm_size: 16m,
   idle_timeout: null, max_runtime: null, policies: {cpu_idle_threshold: 30, network_idle_threshold: 300KiB, disk_idle_threshold: 1MiB, gpu_idle_threshold: 5}}
`,
	})
	run := func(name string, words ...string) {
		t.Helper()
		l.OK("alice", append([]string{"docker", "run", "-d", "--name", name}, words...)...)
	}
	sleep := []string{"busybox", "sleep", "1000"}
	run("sleeping", sleep...)
	run("edited", sleep...)
	run("typed", sleep...)
	run("attached", "-ti", "busybox", "cat")
	run("instance", append([]string{"--gpus", "1"}, sleep...)...)
	run("card", append([]string{"--gpus", "device=full"}, sleep...)...)
	run("counting", "--cpus", "0.1", "busybox", "sh", "-c", "while :; do :; done")
	run("reading", "busybox", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=4; while sleep 0.2; do dd if=/big of=/dev/null bs=1M iflag=direct; done 2>/dev/null")
	run("writing", "busybox", "sh", "-c", "while sleep 0.2; do dd if=/dev/zero of=/big bs=1M count=1 conv=fsync; done 2>/dev/null")
	run("talking", "busybox", "sh", "-c", "exec ping -s 1400 -i 0.1 $(route -n | awk '/^0.0.0.0/ {print $2}')")
	for _, words := range [][]string{
		typing("docker exec -it typed sh"), typing("docker attach attached"),
		{"sh", "-c", "exec >/dev/null 2>&1; while sleep 0.2; do echo; done | docker exec -i edited cat"},
	} {
		_, end := lab.Background(t, l, "alice", words...)
		defer end()
	}
	for _, g := range l.GPUs() {
		if g.Holder != nil {
			l.OK("root", l.Binary(), "gpu", "sim", "set", g.UUID, "--util", map[bool]string{true: "80", false: "60"}[g.Profile == "full"])
		}
	}
	want := map[string]string{
		"sleeping": "^$", "edited": "^$", "typed": "^a terminal in use$", "attached": "^a terminal in use$", "instance": "^GPU 60%$", "card": "^GPU 80%$",
		"counting": "^CPU [0-9]+%$", "reading": "^disk .*/min$", "writing": "^disk .*/min$", "talking": "^network .*/min$",
	}
	seen := map[string]string{}
	defer func() { t.Log(seen) }()
	l.Eventually("each does what it does", 30*time.Second, func() bool {
		seen = activities(l.Containers())
		told := 0
		for name, is := range want {
			at, sampled := seen[name]
			if fits := regexp.MustCompile(is).MatchString(at); sampled && fits {
				told++
			} else if sampled && is == "^$" {
				t.Errorf("%s does nothing, and yet: %s", name, at)
				return true
			}
		}
		return told == len(want)
	})
}

// activities returns what the containers do whose activity was seen.
func activities(all []apitype.Container) map[string]string {
	seen := map[string]string{}
	for _, c := range all {
		if c.Time != nil && c.Time.Sampled {
			seen[c.Name] = c.Time.Activity
		}
	}
	return seen
}
