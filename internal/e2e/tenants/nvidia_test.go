package tenants_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestTheNvidiaRuntimeIsAWayToAskForGPUs is how GPUs were asked for before
// --gpus. Nothing else that a client or an image says about them counts.
func TestTheNvidiaRuntimeIsAWayToAskForGPUs(t *testing.T) {
	l := start(t, lab.Options{Limits: "defaults: {max_mig_instances: 3, max_gpus_per_container: 3, max_gpu_share: null}\n"})
	bake(l)
	for name, c := range map[string]struct {
		words []string
		cards int
	}{
		"two by number":                 {[]string{"--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=0,1", "busybox"}, 2},
		"one by UUID":                   {[]string{"--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=GPU-0a", "busybox"}, 1},
		"all":                           {[]string{"--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=all", "busybox"}, 3},
		"none":                          {[]string{"--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=none", "busybox"}, 0},
		"an image that brings it along": {[]string{"--runtime", "nvidia", "baked"}, 0},
		"a variable without runtime":    {[]string{"-e", "NVIDIA_VISIBLE_DEVICES=all", "-e", "CUDA_VISIBLE_DEVICES=0", "busybox"}, 0},
		"an image alone":                {[]string{"baked"}, 0},
		"an image, and one asked for":   {[]string{"--gpus", "1", "baked"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			lab.EachClient(t, l, func(t *testing.T, docker string) {
				words := append(append([]string{docker, "run", "--rm"}, c.words...), "sh", "-c", "env; ls /dev")
				out := l.OK("alice", words...)
				cards := 0
				for line := range strings.Lines(out) {
					line = strings.TrimSpace(line)
					if n, ok := strings.CutPrefix(line, "nvidia"); ok && len(n) == 1 {
						cards++
					}
					if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "CUDA_V") || strings.HasPrefix(name, "NVIDIA_") &&
						line != "NVIDIA_VISIBLE_DEVICES=void" && name != "NVIDIA_REQUIRE_CUDA" {
						t.Errorf("the container has %s", line)
					}
				}
				if cards != c.cards || !strings.Contains(out, "NVIDIA_VISIBLE_DEVICES=void") {
					t.Errorf("%d cards, want %d: %s", cards, c.cards, out)
				}
			})
		})
	}
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		r := l.Run("alice", docker, "run", "--rm", "--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=all", "--gpus", "1", "busybox", "true")
		if r.Code != 125 {
			t.Errorf("asked for twice: exit code %d", r.Code)
		}
		lab.Contains(t, r.Err, "asked for twice")
	})
	lab.Clean(t, l)
}

// bake makes an image for everybody that brings along what selects devices.
func bake(l *lab.Lab) {
	l.AtEngine("create", "--name", "mold", "busybox")
	words := []string{"commit"}
	for _, e := range []string{
		"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all", "NVIDIA_MIG_CONFIG_DEVICES=all", "NVIDIA_MIG_MONITOR_DEVICES=all",
		"NVIDIA_IMEX_CHANNELS=0", "NVIDIA_DISABLE_REQUIRE=1", "NVIDIA_REQUIRE_CUDA=cuda>=12", "CUDA_VISIBLE_DEVICES=3",
	} {
		words = append(words, "--change", "ENV "+e)
	}
	l.AtEngine(append(words, "mold", "baked")...)
	l.AtEngine("rm", "mold")
}
