package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/cli"
	"ds01.dev/ds01/internal/client/clienttest"
	"ds01.dev/ds01/internal/problem"
)

// TestMain makes the test binary ds01 under all its names.
func TestMain(m *testing.M) {
	commands := map[string]func(){"ds01": ds01}
	for _, name := range cli.Links() {
		commands[name] = ds01
	}
	testscript.Main(m, commands)
}

func ds01() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(cli.Run(ctx, os.Args, streams, os.Getenv, entry()))
}

// entry is a daemon and a demo that only say what they were asked.
func entry() cli.Entry {
	return cli.Entry{
		Version: "v1.2.4",
		Daemon: func(_ context.Context, o cli.DaemonOptions) error {
			_, err := o.Log.Write([]byte("daemon under " + o.Root + "\n"))
			return err
		},
		Demo: func(_ context.Context, o cli.DemoOptions) error {
			if o.Keep {
				_, err := o.Out.Write([]byte("demo, kept\n"))
				return err
			}
			return &problem.Error{What: "demo failed", Why: problem.Because(problem.ErrUnavailable, "no engine")}
		},
	}
}

// TestScripts runs the stories. Each has a daemon in memory of its own at
// DS01_HOST; a story about a daemon that is down sets another address.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"status": status},
		Setup: func(e *testscript.Env) error {
			e.Setenv("DS01_HOST", clienttest.Start(t, world(e.WorkDir)))
			e.Setenv("TZ", "UTC")
			return nil
		},
	})
}

// status is "status CODE COMMAND…": the command ends with that exit code.
func status(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		code = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%v ended with %d, want %s", args[1:], code, args[0])
	}
}

// ago is a moment before now; the half minute keeps the text the same while
// a test runs.
func ago(d time.Duration) *time.Time {
	moment := time.Now().UTC().Add(-d - 30*time.Second)
	return &moment
}

// instance is a free one of card 2.
func instance(index int, profile string, memory int64) apitype.GPU {
	return apitype.GPU{
		GPUUsage: apitype.GPUUsage{UUID: fmt.Sprint("MIG-2-", index), Slot: fmt.Sprint("2.", index), UtilizationPercent: -1, MemoryBytes: memory},
		Card:     2, Model: "A100 80GB", Profile: profile, Share: float64(profile[0]-'0') / 7,
	}
}

// whys are answers about GPUs: to one that is free, to one over a limit, and
// about a container.
func whys(held apitype.GPUGrant) map[string]apitype.GPUWhy {
	limit := apitype.Limit{Key: "max_mig_instances", Value: "2", Source: "groups.student, resource-limits.yaml:12"}
	over := problem.Describe(&problem.Error{
		What: "GPU not granted", Why: problem.Because(problem.ErrLimit, "you hold 1 and asked for 2 more (1+2>2); max_mig_instances is 2 (groups.student, resource-limits.yaml:12)"),
		Next: "Ask for fewer.", Code: "EXCEEDS_TOTAL_LIMIT",
	})
	full := problem.Describe(&problem.Error{What: "x", Why: problem.Because(problem.ErrDenied, "allow_full_gpu is false"), Code: "FULL_GPU_NOT_ALLOWED"})
	base := apitype.GPUWhy{
		User: "alice", Asked: "1", Granted: true, Devices: []apitype.GPUGrant{{UUID: "MIG-2-0", Slot: "2.0", Profile: "1g.10gb", Model: "A100 80GB"}},
		Notes: []string{}, Limits: []apitype.Limit{limit}, Usage: []apitype.Usage{{Key: "max_mig_instances", Text: "1 of 2", Used: 1, Limit: 2}},
		Kinds: []apitype.GPUKind{
			{Profile: "1g.10gb", MemoryBytes: 10 << 30, ShareText: "1/7", Total: 2, Free: 2, Most: 1},
			{Profile: "full", MemoryBytes: 80 << 30, ShareText: "1", Total: 2, Free: 1, Refusal: &full},
		},
	}
	two, train := base, base
	two.Asked, two.Granted, two.Devices, two.Refusal = "2x1g.10gb", false, []apitype.GPUGrant{}, &over
	train.Asked, train.Devices, train.Reason = "", []apitype.GPUGrant{held}, "it runs, and holds them until it is stopped"
	return map[string]apitype.GPUWhy{"": base, "2x1g.10gb": two, "train": train}
}

// cutting is a plan that takes two steps on card 2 and none on card 1, with
// card 0 left out.
func cutting() apitype.MIGPlan {
	return apitype.MIGPlan{Steps: 2, Digest: "d1", Notes: []string{"2.1 is reserved for bob: it may be another instance then, or none"}, Cards: []apitype.MIGCardPlan{
		{
			Card: 0, Model: "A100 80GB", NeedsReset: true, Steps: []apitype.MIGStep{},
			InTheWay: []apitype.MIGHindrance{{Slot: "0", NeedsReset: true, Why: "the MIG mode of card 0 changes with a reset of the card only", Next: "Reset it."}},
		},
		{Card: 1, Model: "A100 80GB"},
		{
			Card: 2, Model: "A100 80GB",
			Kept: []apitype.MIGInstance{{Slot: "2.0", Profile: "1g.10gb", Start: 6, Size: 1}},
			Steps: []apitype.MIGStep{
				{Do: "destroy", Card: 2, UUID: "MIG-2-1", Profile: "1g.10gb", Start: 5, Reason: "the layout has 1 and no room for this one (layout.yaml:6)"},
				{Do: "create", Card: 2, Profile: "3g.40gb", Start: 0, Reason: "the layout wants it (layout.yaml:6)"},
			},
		},
	}}
}

// world is a host with three GPUs, one of them cut, alice, who asks, and bob.
func world(home string) *clienttest.Fake {
	grant := apitype.GPUGrant{UUID: "GPU-1", Slot: "1", Profile: "full", Model: "A100 80GB"}
	alice := apitype.UserLimits{
		User: "alice", UID: 1000, Group: "student", OtherGroups: []string{"course"},
		Limits: []apitype.Limit{
			{Key: "max_mig_instances", Value: "2", Source: "groups.student, resource-limits.yaml:12"},
			{Key: "max_runtime", Value: "48h", Source: "defaults, resource-limits.yaml:3", Inactive: "no rule ends containers yet"},
			{Key: "gpu_hold_after_stop", Value: "15m", Source: "defaults, resource-limits.yaml:4"},
			{Key: "idle_timeout", Value: "no limit", Unlimited: true, Source: "built in"},
		},
		Usage: []apitype.Usage{
			{Key: "max_mig_instances", Label: "GPUs", Used: 1, Limit: 2, Unit: "devices", Text: "1 of 2"},
			{Key: "memory", Label: "memory", Used: 9, Limit: 10, Unit: "bytes", Text: "9 GiB of 10 GiB"},
			{Key: "max_cpus", Label: "CPUs", Used: 4, Unlimited: true, Unit: "cpus", Text: "4, no limit"},
		},
	}
	bob := apitype.UserLimits{User: "bob", UID: 1001, Usage: []apitype.Usage{{Key: "max_mig_instances", Label: "GPUs", Used: 1, Limit: 1, Text: "1 of 1"}}}
	f := &clienttest.Fake{
		Me: apitype.Me{User: "alice", UID: 1000, Home: home, Docker: true, GPU: true},
		Version: apitype.Version{
			Version: "v1.2.3", EngineVersion: "20.10.24", EngineAPI: "1.41", Isolation: "userns", CgroupVersion: 2,
			GPUProvider: "sim", DefaultImage: "alpine:3",
		},
		GPUs: []apitype.GPU{
			{
				GPUUsage: apitype.GPUUsage{UUID: "GPU-0", Slot: "0", UtilizationPercent: -1, MemoryBytes: 80 << 30},
				Model:    "A100 80GB", Profile: "full", Share: 1,
			},
			{
				GPUUsage: apitype.GPUUsage{UUID: "GPU-1", Slot: "1", UtilizationPercent: 50, MemoryUsedBytes: 30 << 30, MemoryBytes: 80 << 30},
				Card:     1, Model: "A100 80GB", Profile: "full", Share: 1,
				Holder: &apitype.Holder{User: "alice", UID: 1000, Container: "train", State: "running"},
			},
			instance(0, "1g.10gb", 10<<30), instance(1, "1g.10gb", 10<<30), instance(2, "2g.20gb", 20<<30),
		},
		Stats: []apitype.Stats{{
			Name: "train", User: "alice", CPUPercent: 150, MemoryBytes: 1 << 30, MemoryLimitBytes: 32 << 30, Pids: 12,
			GPUs: []apitype.GPUUsage{{Slot: "1", UtilizationPercent: 50, MemoryUsedBytes: 30 << 30, MemoryBytes: 80 << 30}},
		}},
		Limits:  []apitype.UserLimits{alice, bob},
		Changes: []apitype.LimitChange{{User: "bob", Key: "memory", Before: "32GiB", After: "64GiB"}},
		Doctor: apitype.Doctor{Checks: []apitype.Check{
			{Name: "engine", Result: apitype.CheckOK, Detail: "It answers."},
			{Name: "gpu group", Result: apitype.CheckFail, Detail: "You are not in gpu-users.", Next: "Ask an admin to add you."},
		}},
		Images: []apitype.Image{
			{
				ID: "sha256:111111111111ffff", Owners: []string{"alice"}, SizeBytes: 5 << 20, CreatedAt: *ago(3 * time.Hour),
				Names: []apitype.ImageName{{Name: "app:1", FullName: "ds01-1000/app:1", User: "alice"}, {Name: "app:2", FullName: "ds01-1000/app:2", User: "alice", Shared: true}},
			},
			{ID: "sha256:222222222222ffff", Owners: []string{"alice"}, Names: []apitype.ImageName{}, SizeBytes: 1 << 20, CreatedAt: *ago(49 * time.Hour)},
			{
				ID: "sha256:333333333333ffff", Owners: []string{}, SizeBytes: 2 << 30, CreatedAt: *ago(72 * time.Hour),
				Names: []apitype.ImageName{{Name: "pytorch:2", FullName: "pytorch:2", Shared: true}, {Name: "ds01-1001/b:1", FullName: "ds01-1001/b:1", User: "bob", Shared: true}},
			},
		},
		Queue: []apitype.QueuePlace{{
			User: "bob", UID: 1001, GPUs: 2, Position: 1, Slots: []string{}, JoinedAt: *ago(time.Hour), Reason: "priority 10",
		}},
		Reserved: []apitype.Reservation{{
			User: "bob", Devices: []string{"1"}, From: ago(0), Reason: "exam", Source: "resource-limits.yaml:7", Holders: []string{"alice on 1"},
		}},
		MIG: apitype.MIG{Cards: []apitype.MIGCard{
			{Card: 0, UUID: "GPU-0", Model: "A100 80GB", Layouts: []map[string]int{{"1g.10gb": 7}, {"3g.40gb": 1, "4g.40gb": 1}}},
			{Card: 2, UUID: "GPU-2", Model: "A100 80GB", Enabled: true, Layouts: []map[string]int{{"1g.10gb": 7}}, Instances: []apitype.MIGInstance{
				{UUID: "MIG-2-0", Slot: "2.0", Profile: "1g.10gb", Start: 6, Size: 1}, {UUID: "MIG-2-1", Slot: "2.1", Profile: "1g.10gb", Start: 5, Size: 1},
			}},
		}},
		MIGPlan: cutting(),
		Why:     whys(grant), Full: "waits", Archive: "the archive",
		Logs: map[string][2]string{"train": {"epoch 1\n", "warning\n"}},
		Run:  program,
	}
	f.Add(apitype.Container{
		ID: "id-train", Name: "train", EngineName: "train._.1000", User: "alice", UID: 1000, Image: "pytorch",
		State: apitype.StateRunning, ClaimState: "running", Interface: "docker", Origin: "ssh-command", CreatedAt: *ago(3 * time.Hour), StartedAt: ago(150 * time.Minute),
		GPUs: []apitype.GPUGrant{grant}, Workspace: home + "/workspace/train",
		Time: &apitype.Time{Activity: "GPU 83%", Sampled: true, Deadlines: []apitype.Deadline{
			{Cause: "idle", Action: "take", LimitSeconds: 7200, LeftSeconds: 7200}, {Cause: "runtime", Action: "stop", SpentSeconds: 9000, LimitSeconds: 86400, LeftSeconds: 77400},
		}},
	})
	f.Add(apitype.Container{
		ID: "id-old", Name: "old", EngineName: "old._.1000", User: "alice", UID: 1000, Image: "alpine:3",
		State: apitype.StateExited, ExitCode: 137, ClaimState: "released", Interface: "atomic",
		CreatedAt: *ago(72 * time.Hour), FinishedAt: ago(49 * time.Hour), GPUs: []apitype.GPUGrant{grant},
		Time: &apitype.Time{Kept: true, Deadlines: []apitype.Deadline{{Cause: "hold", Action: "remove", SpentSeconds: 288 * 3600, LimitSeconds: 360 * 3600, LeftSeconds: 72 * 3600}}},
	})
	f.Dashboard = apitype.Dashboard{
		Host: "dgx", At: *ago(0), Version: f.Version, GPUs: f.GPUs, Containers: f.Containers(),
		Users: f.Limits, Warnings: []string{"the disk is nearly full"},
	}
	return f
}
