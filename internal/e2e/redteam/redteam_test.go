package redteam_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/redteam"
)

// redLimits leave room for what the attacks make, and no more.
const redLimits = "defaults: {max_containers_per_user: 4, max_mig_instances: 1, max_gpus_per_container: 1, memory: 256m, pids_limit: 200}\n"

// redRules are the site's: what the red team labels so is denied, and images
// come from Docker Hub alone.
const redRules = `package ds01.site

deny contains "it is denied here" if input.request.labels.redteam == "denied"

deny contains "images come from docker.io alone" if {
	input.action in {"image.pull", "container.create"}
	not input.request.image.personal
	input.request.image.registry != "docker.io"
}

deny contains "images are built on docker.io's alone" if {
	some base in input.request.build.bases
	not base.personal
	base.registry != "docker.io"
}
`

// stage is a lab with alice as the attacker and bob as the victim, who ask at
// a socket.
func stage(l *lab.Lab, socket string) redteam.Stage {
	bob := l.Person("bob")
	return redteam.Stage{
		GatewaySocket: socket, APISocket: filepath.Join(l.Root, "run/ds01/ds01.sock"),
		EngineSocket: strings.TrimPrefix(l.Engine.Host(), "unix://"), MountFolder: filepath.Join(l.Root, "run/ds01"),
		Image: "busybox:latest", Attacker: l.Person("alice"), Victim: &bob, GPU: true, Now: time.Now, Unlisted: true,
		Rules: func(_ context.Context, text string) error { return lay(l, text) },
		Build: func(_ context.Context, who redteam.Person, r redteam.Recipe) ([]byte, bool, error) {
			name := "alice"
			if who.UID == bob.UID {
				name = "bob"
			}
			return bake(l, socket, name, r)
		},
	}
}

// lay has the daemon read a file of rules beside redRules.
func lay(l *lab.Lab, text string) error {
	file := filepath.Join(l.Root, "etc/ds01/policy/hostile.rego")
	if text == "" {
		if err := os.Remove(file); err != nil {
			return err
		}
	} else if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	l.Reload()
	return nil
}

// bake builds by Debian's client, or by buildx.
func bake(l *lab.Lab, socket, who string, r redteam.Recipe) (said []byte, built bool, err error) {
	dir, err := os.MkdirTemp(l.Home(who), "ds01t")
	if err != nil {
		return nil, false, err
	}
	defer os.RemoveAll(dir)
	files := map[string]string{"Dockerfile": r.Dockerfile}
	if r.Bake != "" {
		files = map[string]string{"docker-bake.hcl": r.Bake}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, false, err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, false, err
	}
	words := []string{lab.Debian, "build"}
	if r.Buildx {
		words = []string{l.Program(lab.Buildx()), "build"}
	}
	if r.Bake != "" {
		words[1] = "bake"
	}
	if words = append(append(words, "--progress=plain"), r.Words...); r.Bake == "" {
		words = append(words, ".")
	}
	cmd := l.Command(who, words...)
	cmd.Dir, cmd.Env = dir, append(cmd.Env, "DOCKER_BUILDKIT=1", "DOCKER_HOST=unix://"+socket)
	result := l.Finish(cmd)
	return []byte(result.Out + "\n" + result.Err + "\n"), result.Code == 0, nil
}

// fit reports whether what the vector needs is here: buildx takes minutes to
// build, as in TestBuildx.
func fit(v redteam.Vector) bool {
	return lab.Buildx().Wanted() || !slices.ContainsFunc(v.Steps, func(s redteam.Step) bool { return s.Build != nil && s.Build.Buildx })
}

// everyEighth is which part of the vectors a kind of engine gets: every eighth, so
// that the tests stay short, or where DS01_TEST_REDTEAM=all all of them, else those
// whose names begin with one of its words.
func everyEighth(first int) func(redteam.Vector) bool {
	wanted, n := os.Getenv("DS01_TEST_REDTEAM"), first
	return func(v redteam.Vector) bool {
		n++
		named := slices.ContainsFunc(strings.Fields(wanted), func(begins string) bool { return strings.HasPrefix(v.ID, begins) })
		return (wanted == "all" || named || wanted == "" && n%8 == 0) && fit(v)
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
				NoStart: true, Plain: plain, Limits: redLimits, Users: []string{"alice", "bob"},
				GPU: "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb], mig: {1: [1g.10gb, 1g.10gb]}}}",
			})
			l.WritePolicy("site.rego", redRules)
			l.StartDaemon()
			began := time.Now()
			report, err := redteam.Run(t.Context(), stage(l, l.GatewaySocket()), redteam.Options{Lab: true, Chosen: everyEighth(first), Tell: func(r redteam.Result) { tell(t, r) }})
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
	s := stage(l, strings.TrimPrefix(l.Engine.Host(), "unix://"))
	s.APISocket, s.GPU = "", false
	s.Rules = func(context.Context, string) error { return nil }
	build := s.Build
	s.Build = func(ctx context.Context, who redteam.Person, r redteam.Recipe) ([]byte, bool, error) {
		r.Words = append(r.Words, "--network=none") // the engine has no bridge
		return build(ctx, who, r)
	}
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
		"build-add":               "a port of the host was reached",
		"kit-add":                 "a port of the host was reached",
		"kit-from-victim":         "a file in another's container was told",
		"kit-cache-mount":         "the cache of another's builds was told",
		"kit-cache-poison":        "a container reached the cache of another",
		"kit-step-secret":         "a file of another person's on the host was told",
		"unlisted-pull":           "a port of the host was reached",
		"unlisted-from":           "a port of the host was reached",
		"unlisted-kit-from":       "a port of the host was reached",
		"unlisted-kit-files":      "a port of the host was reached",
		"rules-loop":              "a container that the site's rules deny",
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
