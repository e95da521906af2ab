package redteam_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/redteam"
)

// redLimits leave room for what the attacks make, and no more.
const redLimits = "defaults: {max_containers_per_user: 4, max_mig_instances: 1, max_gpus_per_container: 1, memory: 256m, pids_limit: 200}\n"

// stage is a lab with alice as the attacker and bob as the victim.
func stage(l *lab.Lab) redteam.Stage {
	bob := l.Person("bob")
	return redteam.Stage{
		GatewaySocket: l.GatewaySocket(), APISocket: filepath.Join(l.Root, "run/ds01/ds01.sock"),
		EngineSocket: strings.TrimPrefix(l.Engine.Host(), "unix://"), MountFolder: filepath.Join(l.Root, "run/ds01"),
		Image: "busybox:latest", Attacker: l.Person("alice"), Victim: &bob, GPU: true, Now: time.Now,
	}
}

// everyEighth is which part of the vectors a kind of engine gets: every eighth, so
// that the tests stay short, or all of them where DS01_TEST_REDTEAM=all.
func everyEighth(first int) func(redteam.Vector) bool {
	all, n := os.Getenv("DS01_TEST_REDTEAM") == "all", first
	return func(redteam.Vector) bool {
		n++
		return all || n%8 == 0
	}
}

// TestRedTeam attacks a gateway before both kinds of engine.
func TestRedTeam(t *testing.T) {
	for name, plain := range map[string]bool{"before a remapped engine": false, "before an engine that isn't remapped": true} {
		t.Run(name, func(t *testing.T) {
			first := 0
			if plain {
				first = 4
			}
			l := start(t, lab.Options{
				Plain: plain, Limits: redLimits, Users: []string{"alice", "bob"},
				GPU: "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb], mig: {1: [1g.10gb, 1g.10gb]}}}",
			})
			began := time.Now()
			report, err := redteam.Run(t.Context(), stage(l), redteam.Options{Lab: true, Chosen: everyEighth(first), Tell: func(r redteam.Result) { tell(t, r) }})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d vectors, %d passed, effects = %d, in %s", report.Vectors, report.Passed, report.Effects, time.Since(began).Round(time.Second))
			if strings.Contains(l.Log(), "panic") {
				t.Error("a handler panicked")
			}
			lab.Clean(t, l)
		})
	}
}

// tell fails the test for a vector that didn't pass; in a lab all are tried.
func tell(t *testing.T, r redteam.Result) {
	t.Helper()
	switch r.Verdict {
	case redteam.OK:
		t.Logf("%-6s %-36s %-14s %s", r.Verdict, r.ID, fmt.Sprint(r.Status), r.Says)
	case redteam.Effect:
		t.Errorf("EFFECT %s (%s): status %v %s\n\t%s", r.ID, r.Says, r.Status, r.Answer, strings.Join(r.Effects, "\n\t"))
	default:
		t.Errorf("%s %s (%s): %s", r.Verdict, r.ID, r.Says, r.Why)
	}
}

// TestTheRedTeamFindsHolesWhereNothingIsInFrontOfTheEngine attacks an engine
// whose socket everybody may open: what the suite can't see there, it can't
// see anywhere.
func TestTheRedTeamFindsHolesWhereNothingIsInFrontOfTheEngine(t *testing.T) {
	l := start(t, lab.Options{Plain: true, NoStart: true, Users: []string{"alice", "bob"}})
	s := stage(l)
	s.GatewaySocket, s.APISocket, s.GPU = s.EngineSocket, "", false
	if err := os.Chmod(s.EngineSocket, 0o666); err != nil {
		t.Fatal(err)
	}
	wants := map[string]string{
		"bind-canary":             "a file of root's on the host was told",
		"host-pid":                "a namespace that isn't its own: pid",
		"host-network-victim":     "a namespace that isn't its own: net",
		"security-seccomp":        "without the filter",
		"foreign-logs-id":         "the logs of another's container was told",
		"foreign-remove-prefix":   "another's container has changed",
		"foreign-export-id":       "a file in another's container was told",
		"exec-in-victim-id":       "the files of another's container has changed",
		"exec-victim-start":       "the files of another's container has changed",
		"image-delete-shared":     "an image that is everybody's has changed",
		"volume-made-canary":      "a file of root's on the host was told",
		"volume-delete":           "another's volume has changed",
		"prune-containers-marked": "another's stopped container has changed",
		"bind-own-root":           "a file of uid 0's lies in the attacker's folder",
		"list-all":                "the name of another's container was told",
		"events-volume":           "the name of another's volume was told",
		"http-pipelined":          "every privilege",
		"json-unicode-long-s":     "every privilege",
	}
	chosen := func(v redteam.Vector) bool { return wants[v.ID] != "" }
	tried := map[string]bool{}
	_, err := redteam.Run(t.Context(), s, redteam.Options{Chosen: chosen, Tell: func(r redteam.Result) {
		tried[r.ID] = true
		if found := strings.Join(r.Effects, "; "); r.Verdict != redteam.Effect || !strings.Contains(found, wants[r.ID]) {
			t.Errorf("%s: %q isn't seen: %s %s %s", r.ID, wants[r.ID], r.Verdict, r.Why, found)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for id := range wants {
		if !tried[id] {
			t.Errorf("%s wasn't tried", id)
		}
	}
}
