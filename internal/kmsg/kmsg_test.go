package kmsg_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/kmsg"
)

// follow returns what is read of a log that is written meanwhile.
func follow(t *testing.T, lines ...string) []kmsg.Kill {
	t.Helper()
	var all []kmsg.Kill
	for i := range lines {
		lines[i] = fmt.Sprintf("6,%d,1,-;%s\n SUBSYSTEM=x\n", i, lines[i])
	}
	kmsg.Read(lines, func(k kmsg.Kill) { all = append(all, k) })
	return all
}

const (
	invoked = "head invoked oom-killer: gfp_mask=0x500cc2(GFP_HIGHUSER|__GFP_ACCOUNT), order=0, oom_score_adj=0"
	memory  = "memory: usage 65536kB, limit 65536kB, failcnt 12"
	table   = "[  24493]  1000 24493    19000    12412    12064      348         0   139264        0             0 sh"
	end     = "Memory cgroup out of memory: Killed process 24493 (sh) total-vm:76000kB, anon-rss:48256kB, file-rss:1392kB, shmem-rss:1024kB, UID:2147483648 pgtables:136kB oom_score_adj:0"
)

func oom(limited, group, name string) string {
	return "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=abc,mems_allowed=0," + limited + ",task_memcg=" + group + ",task=" + name + ",pid=24493,uid=-2147483648"
}

func TestTheKernelSaysWhomItEndedAndWhy(t *testing.T) {
	const own, person = "/ds01/u1001/abc", "/ds01/u1001"
	for name, c := range map[string]struct {
		lines []string
		want  []kmsg.Kill
	}{
		"at the container's own limit": {
			[]string{invoked, memory, table, oom("oom_memcg="+own, own, "sh"), end},
			[]kmsg.Kill{{Limited: own, Group: own, Process: "sh", PID: 24493, Limit: 64 << 20, Held: 49280 << 10}},
		},
		"at the person's": {
			[]string{memory, "something else", oom("oom_memcg="+person, own, "python3"), "and else", end},
			[]kmsg.Kill{{Limited: person, Group: own, Process: "python3", PID: 24493, Limit: 64 << 20, Held: 49280 << 10}},
		},
		"on a host without memory": {
			[]string{
				"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=" + own + ",task=sh,pid=24493,uid=0",
				strings.Replace(end, "Memory cgroup out of memory", "Out of memory", 1),
			},
			[]kmsg.Kill{{Group: own, Process: "sh", PID: 24493, Held: 49280 << 10}},
		},
		"with a name that is to deceive": {
			[]string{oom("oom_memcg="+own, own, "a,pid=1,uid=0\x1b[1m"), end},
			[]kmsg.Kill{{Limited: own, Group: own, Process: "a,pid=1,uid=0?[1m", PID: 24493, Held: 49280 << 10}},
		},
		"of another process":  {[]string{oom("oom_memcg="+own, own, "sh"), strings.Replace(end, "24493", "24494", 1)}, nil},
		"without a summary":   {[]string{memory, end}, nil},
		"and something else":  {[]string{"usb 1-1: new device", memory, table}, nil},
		"twice in one report": {[]string{oom("oom_memcg="+own, own, "sh"), end, end}, []kmsg.Kill{{Limited: own, Group: own, Process: "sh", PID: 24493, Held: 49280 << 10}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := follow(t, c.lines...)
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(memory, oom("oom_memcg=/a", "/a/b", "sh"), end)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		kmsg.Read([]string{a, "6,1;" + b, c}, func(k kmsg.Kill) {
			if strings.ContainsAny(k.Process, "\n\x1b\x00") || k.Held < 0 || k.Limit < 0 {
				t.Errorf("%+v", k)
			}
		})
	})
}

// TestTheRealLog has the kernel end a process in a group of 8 MiB.
func TestTheRealLog(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("the kernel's log needs root")
	}
	v1, folder := "/sys/fs/cgroup/memory", fmt.Sprintf("ds01t-kmsg-%d", os.Getpid())
	limit := "memory.limit_in_bytes"
	if _, err := os.Stat(v1); err != nil {
		v1, limit = "/sys/fs/cgroup", "memory.max"
	}
	group := filepath.Join(v1, folder)
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); os.Remove(group) != nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
	})
	if err := os.WriteFile(filepath.Join(group, limit), []byte("8388608"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	found, ended := make(chan kmsg.Kill, 64), make(chan error, 1)
	go func() { ended <- kmsg.Follow(ctx, kmsg.Path, func(k kmsg.Kill) { found <- k }) }()
	time.Sleep(50 * time.Millisecond) // it has opened the log by then
	for range 20 {                    // the kernel says at most ten things in five seconds, of everybody's
		_ = exec.Command("sh", "-c", "echo $$ >"+group+"/cgroup.procs; exec tail /dev/zero").Run() // it is killed
		select {
		case k := <-found:
			if k.Group != "/"+folder {
				continue // somebody else's
			}
			if k.Limited != k.Group || k.Process != "tail" || k.Limit != 8<<20 || k.Held < 4<<20 || k.Held > 8<<20 {
				t.Errorf("%+v", k)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
	cancel()
	t.Errorf("nothing was said: %v", <-ended)
}
