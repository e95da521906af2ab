package files_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestVolumes is what people keep at the engine.
func TestVolumes(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, Admins: []string{"ada"}, Limits: "defaults:\n  max_containers_per_user: 9\n"})
	for name, story := range map[string]func(*testing.T, *lab.Lab){
		"a volume outlives its containers":             aVolumeOutlivesItsContainers,
		"others' volumes are not there":                othersVolumesAreNotThere,
		"volumes that reach beyond are refused":        volumesThatReachBeyondAreRefused,
		"volumes without a name go with the container": volumesWithoutANameGo,
		"nobody on the host enters a volume":           nobodyOnTheHostEntersAVolume,
		"volumes of another container of one's own":    volumesOfAnotherContainer,
		"volumes that nobody uses are pruned":          idleVolumesArePruned,
		"disk usage is one's own":                      diskUsageIsOnesOwn,
		"a volume made past ds01 is nobody's":          aVolumeMadePastIsNobodys,
	} {
		t.Run(name, func(t *testing.T) {
			defer clearVolumes(l)
			story(t, l)
		})
	}
}

func clearVolumes(l *lab.Lab) {
	l.ClearAll()
	for _, who := range []string{"alice", "bob"} {
		l.OK(who, "docker", "volume", "prune", "-f")
	}
}

func aVolumeOutlivesItsContainers(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		for _, who := range []string{"alice", "bob"} {
			l.OK(who, docker, "run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo "+who+" >/data/who")
			if got := l.OK(who, docker, "run", "--rm", "--mount", "type=volume,source=data,target=/d,volume-nocopy", "busybox", "cat", "/d/who"); got != who {
				t.Errorf("%s reads %q", who, got)
			}
			if got := l.OK(who, docker, "volume", "ls", "--format", "{{.Name}}"); got != "data" {
				t.Errorf("%s's volumes: %q", who, got)
			}
			if got := l.OK(who, docker, "volume", "inspect", "-f", "{{.Name}} {{.Driver}}", "data"); got != "data local" {
				t.Errorf("inspected: %q", got)
			}
		}
		for _, who := range []string{"alice", "bob"} {
			l.OK(who, docker, "run", "-d", "--name", "web", "-v", "data:/data", "busybox", "sleep", "1000")
			r := l.Run(who, docker, "volume", "rm", "data")
			if r.Code == 0 || strings.Contains(r.Err, "._.") {
				t.Errorf("a volume in use: %d %s", r.Code, r.Err)
			}
			l.OK(who, docker, "rm", "-f", "-v", "web")
			if got := l.OK(who, docker, "volume", "create", "data"); got != "data" {
				t.Errorf("created again: %q", got)
			}
			if got := l.OK(who, docker, "run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/who"); got != who {
				t.Errorf("after its container went, %s reads %q", who, got)
			}
			l.OK(who, docker, "volume", "rm", "data")
			if got := l.OK(who, docker, "volume", "ls", "-q"); got != "" {
				t.Errorf("left: %q", got)
			}
		}
	})
}

func othersVolumesAreNotThere(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "volume", "create", "secret")
	l.OK("alice", "docker", "run", "--rm", "-v", "secret:/s", "busybox", "sh", "-c", "echo hers >/s/x")
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", "/loose", "busybox", "sleep", "1000")
	loose := l.OK("alice", "docker", "inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", "web")
	engineName := l.EngineName("alice", "secret")
	for _, reference := range []string{"secret", engineName, loose} {
		for _, words := range [][]string{{"volume", "inspect", reference}, {"volume", "rm", reference}, {"volume", "rm", "-f", reference}} {
			if r := l.Docker("bob", words...); r.Code == 0 || !strings.Contains(r.Err, "No such volume") && !strings.Contains(r.Err, "no such volume") {
				t.Errorf("%v: %d %s", words, r.Code, r.Err)
			}
		}
		if r := l.Docker("bob", "run", "--rm", "-v", reference+":/s", "busybox", "ls", "/s"); r.Out != "" {
			t.Errorf("bob reads in %s: %s", reference, r.Out)
		}
	}
	if r := l.Docker("bob", "run", "--rm", "--volumes-from", "web", "busybox", "true"); r.Code == 0 || !strings.Contains(r.Err, "No such container") {
		t.Errorf("volumes of alice's container: %s", r.Err)
	}
	if got := l.OK("alice", "docker", "run", "--rm", "-v", "secret:/s", "busybox", "cat", "/s/x"); got != "hers" {
		t.Errorf("alice reads %q", got)
	}
	lab.Contains(t, l.OK("ada", "docker", "volume", "ls"), engineName, loose)
	l.OK("ada", "docker", "volume", "rm", engineName)
	lab.Lacks(t, l.OK("alice", "docker", "volume", "ls"), "secret")
}

func volumesThatReachBeyondAreRefused(t *testing.T, l *lab.Lab) {
	for name, words := range map[string][]string{
		"the host's disk":        {"volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/", "x"},
		"and all below it":       {"volume", "create", "-o", "o=rbind", "-o", "device=/etc", "x"},
		"a file server":          {"volume", "create", "-o", "type=nfs", "-o", "o=addr=10.0.0.1", "-o", "device=:/x", "x"},
		"a disk":                 {"volume", "create", "-o", "type=ext4", "-o", "device=/dev/sda1", "x"},
		"another driver":         {"volume", "create", "-d", "nfs", "x"},
		"a label of ds01's":      {"volume", "create", "--label", "aime.mlc=bob", "x"},
		"by a mount":             {"run", "--rm", "--mount", "type=volume,dst=/h,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/", "busybox", "true"},
		"a driver by a mount":    {"run", "--rm", "--mount", "type=volume,dst=/h,volume-driver=nfs", "busybox", "true"},
		"a driver for all":       {"run", "--rm", "--volume-driver", "nfs", "-v", "x:/h", "busybox", "true"},
		"a name with a way out":  {"run", "--rm", "-v", "../x:/h", "busybox", "true"},
		"bob's by the engine's":  {"run", "--rm", "-v", l.EngineName("bob", "data") + ":/h", "busybox", "true"},
		"on /proc":               {"run", "--rm", "-v", "x:/proc/sys", "busybox", "true"},
		"to choose GPUs":         {"run", "--rm", "-v", "/var/run/nvidia-container-devices/all", "busybox", "true"},
		"of another container":   {"run", "--rm", "--volumes-from", "nobody", "busybox", "true"},
		"with mount propagation": {"run", "--rm", "-v", "x:/h:rshared", "busybox", "true"},
	} {
		if r := l.Docker("alice", words...); r.Code == 0 || !strings.Contains(r.Err, "ds01: ") && !strings.Contains(r.Err, "invalid") {
			t.Errorf("%s: %d %s", name, r.Code, r.Err)
		}
	}
	for name, mount := range map[string]string{
		"an image":               `{"Type":"image","Source":"busybox","Target":"/h"}`,
		"a pipe":                 `{"Type":"npipe","Source":"x","Target":"/h"}`,
		"a cluster's":            `{"Type":"cluster","Source":"x","Target":"/h"}`,
		"a part outside":         `{"Type":"volume","Source":"x","Target":"/h","VolumeOptions":{"Subpath":"a/../../.."}}`,
		"a part, on this engine": `{"Type":"volume","Source":"x","Target":"/h","VolumeOptions":{"Subpath":"a"}}`,
		"created as root":        `{"Type":"bind","Source":"` + l.Home("alice") + `","Target":"/h","BindOptions":{"CreateMountpoint":true}}`,
	} {
		status, answer := l.Ask("alice", "POST", "/containers/create?name=x", `{"Image":"busybox","HostConfig":{"Mounts":[`+mount+`]}}`)
		if status != 403 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if status, answer := l.Ask("alice", "PUT", "/volumes/x", `{}`); status != 403 {
		t.Errorf("PUT: %d %s", status, answer)
	}
	if got := l.AtEngine("volume", "ls", "-q"); got != "" {
		t.Errorf("a refused request left volumes: %s", got)
	}
}

func volumesWithoutANameGo(t *testing.T, l *lab.Lab) {
	l.AtEngine("run", "--name", "base", "busybox", "true")
	l.AtEngine("commit", "--change", "VOLUME /declared", "base", "voluminous")
	l.AtEngine("rm", "base")
	l.Eventually("the image's maker is forgotten", 30*time.Second, func() bool { return len(l.Containers()) == 0 })
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		run := []string{docker, "run", "--rm", "-v", "/data", "--mount", "type=volume,dst=/more", "voluminous", "sh", "-c", "echo x >/data/x; echo x >/declared/x; echo x >/more/x"}
		l.OK("alice", run...)
		l.Eventually("they went with it", 30*time.Second, func() bool { return l.OK("alice", docker, "volume", "ls", "-q") == "" })
		l.OK("alice", docker, "run", "-d", "--name", "web", "-v", "/data", "voluminous", "sleep", "1000")
		names := strings.Fields(l.OK("alice", docker, "volume", "ls", "-q"))
		if len(names) != 2 {
			t.Errorf("alice has %v", names)
		}
		lab.Lacks(t, l.OK("bob", docker, "volume", "ls", "-q"), names...)
		l.OK("alice", docker, "rm", "-f", "web")
		if left := strings.Fields(l.OK("alice", docker, "volume", "ls", "-q")); len(left) != 2 {
			t.Errorf("without -v, left are %v", left)
		}
		l.OK("alice", append([]string{docker, "volume", "rm"}, names...)...)
	})
}

func nobodyOnTheHostEntersAVolume(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "cp /bin/busybox /data/sh && chmod 4755 /data/sh && echo x >/data/x && chmod 777 /data")
	point := l.OK("alice", "docker", "volume", "inspect", "-f", "{{.Mountpoint}}", "data")
	for _, who := range []string{"alice", "bob"} {
		for _, words := range [][]string{{"ls", point}, {"cat", point + "/x"}, {point + "/sh", "true"}, {"touch", point + "/y"}} {
			if r := l.Run(who, append([]string{"env"}, words...)...); r.Code == 0 || !strings.Contains(r.Err, "ermission denied") {
				t.Errorf("%s %v: %d %s %s", who, words, r.Code, r.Out, r.Err)
			}
		}
	}
	if r := l.Docker("alice", "run", "--rm", "-v", "data:/data", "busybox", "mknod", "/data/disk", "b", "8", "0"); r.Code == 0 {
		t.Error("a device was made in a volume")
	}
}

func volumesOfAnotherContainer(t *testing.T, l *lab.Lab) {
	l.OK("alice", "mkdir", "work")
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", "data:/data", "-v", "/loose", "-v", l.Home("alice")+"/work:/work", "busybox", "sh", "-c", "echo d >/data/f; echo l >/loose/f; echo w >/work/f; sleep 1000")
	l.Eventually("it has written", 30*time.Second, func() bool { return l.Docker("alice", "exec", "web", "cat", "/work/f").Code == 0 })
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		if got := l.OK("alice", docker, "run", "--rm", "--volumes-from", "web", "busybox", "cat", "/data/f", "/loose/f", "/work/f"); got != "d\nl\nw" {
			t.Errorf("read %q", got)
		}
		if r := l.Run("alice", docker, "run", "--rm", "--volumes-from", "web:ro", "busybox", "touch", "/data/x"); r.Code == 0 {
			t.Error("read-only, it was written to")
		}
	})
	if got := l.OK("alice", "docker", "exec", "web", "cat", "/loose/f"); got != "l" {
		t.Errorf("after others had it, there is %q", got)
	}
}

func idleVolumesArePruned(t *testing.T, l *lab.Lab) {
	for _, who := range []string{"alice", "bob"} {
		l.OK(who, "docker", "volume", "create", "--label", "keep=no", "idle")
		l.OK(who, "docker", "run", "-d", "-v", "used:/data", "busybox", "sleep", "1000")
		l.OK(who, "docker", "run", "--rm", "-v", "idle:/data", "busybox", "dd", "if=/dev/zero", "of=/data/x", "bs=1024", "count=1024")
	}
	if got := l.OK("alice", "docker", "volume", "prune", "-f", "--filter", "label!=keep"); strings.Contains(got, "idle") {
		t.Errorf("without the label: %s", got)
	}
	got := l.OK("alice", "docker", "volume", "prune", "-f", "--filter", "label=keep=no")
	lab.Contains(t, got, "idle", "1.049MB")
	lab.Lacks(t, got, "used", "._.")
	if got := l.OK("alice", "docker", "volume", "ls", "-q"); got != "used" {
		t.Errorf("alice has %q", got)
	}
	if got := l.OK("bob", "docker", "volume", "ls", "-q"); got != "idle\nused" {
		t.Errorf("bob has %q", got)
	}
}

func diskUsageIsOnesOwn(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "hers", "-v", "treasure:/data", "busybox", "sleep", "1000")
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		mine := l.OK("alice", docker, "system", "df", "-v")
		lab.Contains(t, mine, "hers", "treasure", "busybox")
		lab.Lacks(t, mine, "._.")
		theirs := l.OK("bob", docker, "system", "df", "-v")
		lab.Contains(t, theirs, "busybox")
		lab.Lacks(t, theirs, "hers", "treasure")
		lab.Contains(t, l.OK("bob", docker, "system", "df"), "Local Volumes   0")
	})
	lab.Contains(t, l.OK("ada", "docker", "system", "df", "-v"), l.EngineName("alice", "hers"), l.EngineName("alice", "treasure"))
	if status, answer := l.Ask("bob", "GET", "/system/df?type=volume", ""); status != 200 || strings.Contains(answer, "busybox") || strings.Contains(answer, "treasure") {
		t.Errorf("%d %s", status, answer)
	}
	if status, _ := l.Ask("bob", "GET", "/system/df?type=all", ""); status != 400 {
		t.Errorf("an unknown type: %d", status)
	}
}

func aVolumeMadePastIsNobodys(t *testing.T, l *lab.Lab) {
	name := l.EngineName("alice", "foreign")
	l.AtEngine("volume", "create", name)
	defer l.AtEngine("volume", "rm", name)
	lab.Lacks(t, l.OK("alice", "docker", "volume", "ls"), "foreign")
	lab.Contains(t, l.OK("ada", "docker", "volume", "ls"), name)
	if r := l.Docker("alice", "run", "--rm", "-v", "foreign:/x", "busybox", "true"); r.Code == 0 || !strings.Contains(r.Err, "ds01 doesn't know") {
		t.Errorf("alice took it: %s", r.Err)
	}
}

// TestWhatAnAnswerThatWasLostHasMade loses answers of the engine, and kills
// the daemon, while volumes and networks are made and removed.
func TestWhatAnAnswerThatWasLostHasMade(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, NetNS: true, Proxy: true})
	for name, path := range map[string]string{"volume": "/volumes/create", "network": "/networks/create"} {
		for fate, made := range map[lab.Fate]bool{{LoseReply: true}: true, {LoseRequest: true}: false} {
			l.Proxy.Decide(func(r *http.Request) lab.Fate {
				if strings.HasSuffix(r.URL.Path, path) {
					return fate
				}
				return lab.Fate{}
			})
			if r := l.Docker("alice", name, "create", "lost"); r.Code == 0 {
				t.Errorf("%s: %s", name, r.Out)
			}
			l.Proxy.Decide(nil)
			l.EndDaemon(syscall.SIGKILL)
			l.StartDaemon()
			l.Eventually("the record is in step", 30*time.Second, func() bool {
				return strings.Contains(l.OK("alice", "docker", name, "ls"), "lost") == made
			})
			lab.Lacks(t, l.OK("bob", "docker", name, "ls"), "lost")
			if made {
				l.OK("alice", "docker", name, "rm", "lost")
			}
			l.OK("alice", "docker", name, "create", "lost")
			l.OK("alice", "docker", name, "rm", "lost")
		}
	}
}
