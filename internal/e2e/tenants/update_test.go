package tenants_test

import (
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestAnUpdateStandsInTheKernel reads back what docker update has set.
func TestAnUpdateStandsInTheKernel(t *testing.T) {
	l := start(t, lab.Options{Limits: small})
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		l.OK("bob", docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
		defer l.OK("bob", docker, "rm", "-f", "web")
		for _, c := range []struct {
			words []string
			want  map[string]int64
		}{
			{[]string{"--memory", "32m", "--cpus", "0.2", "--pids-limit", "20"}, map[string]int64{"memory limit": 32 * lab.MiB, "tasks limit": 20, "cpu quota": 20_000}},
			{[]string{"--memory", "48m"}, map[string]int64{"memory limit": 48 * lab.MiB, "tasks limit": 20, "cpu quota": 20_000}},
			{[]string{"--pids-limit", "-1"}, map[string]int64{"memory limit": 48 * lab.MiB, "tasks limit": 40, "cpu quota": 20_000}},
			{[]string{"--memory", "64m", "--memory-swap", "-1", "--cpus", "0.4"}, map[string]int64{"memory limit": 64 * lab.MiB, "tasks limit": 40, "cpu quota": 40_000}},
		} {
			l.OK("bob", append(append([]string{docker, "update"}, c.words...), "web")...)
			stands(t, l, "bob", "web", c.want)
		}
		if got := l.Shown("bob", "web", "{{.HostConfig.MemorySwap}}"); got != "67108864" {
			t.Errorf("memory and swap together: %s", got)
		}
		for name, words := range map[string][]string{"1GiB is over your limit of 64MiB (memory: ": {"--memory", "1g"}, "41 is over your limit of 40 (pids_limit: ": {"--pids-limit", "41"}, "1.5 is over your limit of 0.4 (max_cpus: ": {"--cpus", "1.5"}} {
			r := l.Run("bob", append(append([]string{docker, "update"}, words...), "web")...)
			if r.Code == 0 {
				t.Errorf("%v is accepted", words)
			}
			lab.Contains(t, r.Err, "Container not updated", name, "resource-limits.yaml:")
		}
		stands(t, l, "bob", "web", map[string]int64{"memory limit": 64 * lab.MiB, "tasks limit": 40, "cpu quota": 40_000})
		if r := l.Run("alice", docker, "update", "--memory", "32m", "web"); r.Code == 0 {
			t.Error("alice updates bob's container")
		}
	})
}
