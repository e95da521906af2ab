package crash_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// create reports whether a request makes a container.
func create(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/containers/create") }

const oneCard = "{provider: sim, sim: {gpus: [a100-80gb]}}"

func TestACreateWhoseReplyIsLostKeepsItsDeviceAndIsFound(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, GPU: oneCard, Limits: crashLimits})
	l.Proxy.Decide(lab.Once(create, lab.Fate{LoseReply: true}))
	r := l.Docker("alice", "create", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	if r.Code == 0 || !strings.Contains(r.Err, "Container web may or may not exist") || !strings.Contains(r.Err, "container list") {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
	if r := l.Docker("bob", "create", "--gpus", "1", "busybox"); r.Code == 0 {
		t.Error("bob was given alice's device")
	}
	lab.Settled(t, l, 10*time.Second)
	l.OK("alice", "docker", "start", "web")
	lab.Settled(t, l, 10*time.Second)
	l.OK("alice", "docker", "rm", "-f", "web")
	lab.Clean(t, l)
}

func TestACreateThatNeverReachedTheEngineGivesItsDeviceBack(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, GPU: oneCard, Limits: crashLimits})
	l.Proxy.Decide(lab.Once(create, lab.Fate{LoseRequest: true}))
	if r := l.Docker("alice", "create", "--name", "web", "--gpus", "1", "busybox"); r.Code == 0 {
		t.Error("a lost create went well")
	}
	if r := l.Docker("bob", "create", "--gpus", "1", "busybox"); r.Code == 0 {
		t.Error("bob was given the device although nobody knows yet")
	}
	lab.Settled(t, l, pendingIsSettled)
	l.OK("bob", "docker", "run", "--rm", "--gpus", "1", "busybox", "true")
	lab.Clean(t, l)
}

func TestAStartWhoseReplyIsLostRunsWithItsDevice(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, GPU: oneCard, Limits: crashLimits})
	work := "-v=" + l.Home("alice") + ":/work"
	l.OK("alice", "docker", "create", "--name", "web", "--gpus", "1", work, "busybox", "sleep", "1000")
	l.Proxy.Decide(lab.Once(lab.Starts, lab.Fate{LoseReply: true}))
	if r := l.Docker("alice", "start", "web"); r.Code == 0 {
		t.Error("the reply was not lost")
	}
	lab.Settled(t, l, 10*time.Second)
	if got := l.OK("alice", "docker", "ps", "-q"); got == "" {
		t.Error("the container doesn't run")
	}
	l.OK("alice", "docker", "rm", "-f", "web")
	l.OK("alice", "docker", "create", "--name", "web", "--gpus", "1", work, "busybox", "sleep", "1000")
	l.Proxy.Decide(lab.Once(lab.Starts, lab.Fate{LoseRequest: true}))
	if r := l.Docker("alice", "start", "web"); r.Code == 0 {
		t.Error("the request was not lost")
	}
	lab.Settled(t, l, 10*time.Second)
	l.OK("alice", "docker", "start", "web")
	l.OK("alice", "docker", "rm", "-f", "web")
	lab.Clean(t, l)
}

func TestAContainerOfWhichOnlyHalfWasMadeIsUndoneOrWhole(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, GPU: oneCard, Limits: crashLimits})
	archive := func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/archive")
	}
	l.Proxy.Decide(lab.Once(archive, lab.Fate{LoseRequest: true}))
	if r := l.DS01("alice", "container", "create", "web", "--gpus", "1"); r.Code == 0 {
		t.Error("create went well although the passwd file was not written")
	}
	lab.Settled(t, l, 10*time.Second)
	if n := len(l.EngineContainers()); n != 0 {
		t.Errorf("%d half-made containers are left", n)
	}
	lab.Clean(t, l)
}

func TestLostAndLateRepliesUnderLoadLoseNothing(t *testing.T) {
	people := []string{"ann", "ben", "cid"}
	l := start(t, lab.Options{Proxy: true, Users: people, Limits: crashLimits})
	seed := seedOf(t)
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 7))
	l.Proxy.Decide(func(r *http.Request) lab.Fate {
		if r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/wait") || strings.HasSuffix(r.URL.Path, "/attach") {
			return lab.Fate{}
		}
		mu.Lock()
		defer mu.Unlock()
		delay := time.Duration(dice.IntN(300)) * time.Millisecond
		switch dice.IntN(12) {
		case 0:
			return lab.Fate{LoseReply: true, Delay: delay}
		case 1:
			// Who waits for a container of --rm waits for its removal.
			return lab.Fate{LoseRequest: r.Method != http.MethodDelete, Delay: delay}
		case 2:
			return lab.Fate{Delay: delay}
		}
		return lab.Fate{}
	})
	work := startLoad(t, l, seed, people...)
	for range max(kills()/3, 3) {
		time.Sleep(3 * time.Second)
		work.during(func() { lab.Sound(t, l, 10*time.Second) })
	}
	work.stop()
	l.Proxy.Decide(nil)
	lab.Settled(t, l, pendingIsSettled)
	removeEverything(t, l, people)
}

func TestClientsThatHangUpInMidCreateLeaveNothingHalfMade(t *testing.T) {
	people := []string{"ann", "ben"}
	l := start(t, lab.Options{Users: people, Limits: crashLimits})
	dice := rand.New(rand.NewPCG(seedOf(t), 3))
	body := `{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}}`
	var all sync.WaitGroup
	for i := range 10 {
		patience := time.Duration(dice.IntN(400)) * time.Millisecond
		all.Go(func() { hangUp(t, l, fmt.Sprintf("raw%d", i), body, patience) })
		cmd := l.Command(people[i%2], "docker", "run", "-d", "--gpus", "1", "-v", l.Home(people[i%2])+":/work", "busybox", "sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(patience)
		cmd.Process.Kill()
		cmd.Wait()
	}
	all.Wait()
	// A create goes on without its client, and may have no claim yet.
	l.Eventually("the gateway is done with all of them", time.Minute, func() bool { return lab.Connections(t, l) == 0 })
	lab.Settled(t, l, pendingIsSettled)
	removeEverything(t, l, append(people, "root"))
}

// hangUp sends a create by hand and closes the connection after a while.
func hangUp(t *testing.T, l *lab.Lab, name, body string, patience time.Duration) {
	conn, err := net.Dial("unix", filepath.Join(l.Root, "run/docker.sock"))
	if err != nil {
		t.Error(err)
		return
	}
	fmt.Fprintf(conn, "POST /containers/create?name=%s HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", name, len(body), body)
	time.Sleep(patience)
	conn.Close()
}

// Docker's client waits for the removal of a container of --rm that didn't
// start.
func TestARunWithRmWhoseStartIsLostEndsAndLeavesNothing(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, GPU: oneCard, Limits: crashLimits})
	l.Proxy.Decide(lab.Once(lab.Starts, lab.Fate{LoseRequest: true}))
	r := l.Run("alice", "timeout", "-s", "KILL", "20", "docker", "run", "--rm", "--gpus", "1", "busybox", "true")
	if r.Code == 0 || r.Code == 137 {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
	lab.Clean(t, l)
}
