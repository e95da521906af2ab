package crash_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/e2e/lab"
)

// A cast is the people of the hour of chaos with their containers.
type cast struct {
	*witnesses
	t     *testing.T
	cards []apitype.GPU
	works *load

	keepers []*actor      // who must not lose anything
	over    chan struct{} // closed when nothing new is to begin
	players sync.WaitGroup
	applaud func()     // closes over, and waits for the players
	turning sync.Mutex // held by who has begun to work, until that is stored

	acting sync.Mutex
	due    []*actor // whose time runs out
}

// An actor is one container.
type actor struct {
	part, who, name, id string
	asked, from         time.Time // when its owner asked for it, and had made it
	turns               []span    // when its card worked
}

// A part is what a container does, and what its owner asks docker for.
type part struct {
	name, who string
	asks      []string
	program   string // "": it sleeps
	times     int    // so many play it side by side
}

// untilTold lets a program work until its workspace says that this is enough.
const untilTold = "until [ -e /workspace/end ]; do %s; done; echo done >/workspace/done"

var (
	onCard = []string{"--gpus", "1"}
	slowly = []string{"--cpus", "0.1"}
)

// keeps are those who must not lose anything.
func keeps() []part {
	return []part{
		{"trains", "alice", onCard, fmt.Sprintf(untilTold, "sleep 0.2"), 1}, // its card works
		{"counts", "alice", slowly, fmt.Sprintf(untilTold, ":"), 1},         // the processor does
		{"safe", "alice", onCard, "", 1},                                    // protected
		{"alive", "alice", onCard, "", 1},                                   // its workspace says so
		{"shown", "erin", onCard, "", 1},                                    // she is exempt
		{"fresh", "gus", onCard, "", 1},                                     // just started, for an hour
		{"typed", "tess", onCard, "", 1},                                    // she sits at a terminal in it
	}
}

// loses are those whose time runs out, again and again.
func loses() []part {
	return []part{
		{"idle", "bob", onCard, "", 2},
		{"doze", "bob", nil, "", 1},
		{"turns", "bob", onCard, "", 4}, // its card works now and then
		{"long", "max", append(onCard, slowly...), fmt.Sprintf(untilTold, ":"), 1},
		{"left", "bob", onCard, "", 1}, // its owner stops it
		{"never", "bob", onCard, "", 1},
	}
}

// gather starts what is to be kept, and lets everybody play their parts.
func gather(t *testing.T, l *lab.Lab, seed uint64, log func(string, ...any)) *cast {
	t.Helper()
	c := &cast{t: t, cards: l.GPUs(), over: make(chan struct{})}
	c.applaud = sync.OnceFunc(func() { close(c.over); c.players.Wait() })
	c.witnesses = watch(t, l, log, "alice", "bob", "erin", "gus", "max", "tess")
	t.Cleanup(c.applaud)
	l.OK("root", l.Binary(), "exempt", "add", l.Login("erin"), "--from", "idle", "--reason", "demonstration")
	for _, p := range keeps() {
		a := &actor{part: p.name, who: p.who, name: p.name}
		a.id = l.OK(p.who, c.command(p, "run", p.name)...)
		c.keepers = append(c.keepers, a)
		switch p.name {
		case "trains":
			l.OK("root", l.Binary(), "gpu", "sim", "set", c.cardOf(a), "--util", "80")
		case "safe":
			l.OK("root", l.Binary(), "container", "protect", "safe", "--user", l.Login("alice"))
		case "alive":
			l.OK("alice", "touch", filepath.Join(workspace(l, p.who, p.name), ".keep-alive"))
		case "typed":
			c.players.Go(func() { c.types(p.who, a.id) })
		}
	}
	for i, p := range loses() {
		for j := range p.times {
			c.players.Go(func() { c.plays(p, j, rand.New(rand.NewPCG(seed, 10+10*uint64(i)+uint64(j)))) })
		}
	}
	c.works = startLoad(t, l, seed, "ann")
	return c
}

func workspace(l *lab.Lab, who, name string) string { return filepath.Join(l.Home(who), name) }

// command returns how a part's container is run, or made; who waits for ever gives
// up.
func (c *cast) command(p part, verb, name string) []string {
	folder := workspace(c.l, p.who, name)
	c.l.OK(p.who, "mkdir", "-p", folder)
	words := []string{"timeout", "-s", "KILL", "25", "docker", verb, "--name", name, "-v", folder + ":/workspace"}
	if verb == "run" {
		words = append(words, "-d")
	}
	words = append(append(words, p.asks...), "busybox")
	if p.program == "" {
		return append(words, "sleep", "10000")
	}
	return append(words, "sh", "-c", p.program)
}

// cardOf waits a moment until the kernel has shown which card a container has, and
// returns its UUID, "" if none.
func (c *cast) cardOf(a *actor) string {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && !c.gone(a.id) && !c.isOver(); time.Sleep(20 * time.Millisecond) {
		slot := c.slot(a.id)
		if i := slices.IndexFunc(c.cards, func(g apitype.GPU) bool { return g.Slot == slot }); i >= 0 {
			return c.cards[i].UUID
		}
	}
	return ""
}

func (c *cast) isOver() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// plays has a part's container made, and when it is gone the next one.
func (c *cast) plays(p part, number int, dice *rand.Rand) {
	verb := "run"
	if p.name == "never" {
		verb = "create"
	}
	for i := 1; !c.isOver(); i++ {
		a := &actor{part: p.name, who: p.who, name: fmt.Sprintf("%s%d-%d", p.name, number, i), asked: time.Now()}
		r := c.l.Run(p.who, c.command(p, verb, a.name)...)
		if a.id, a.from = r.Out, time.Now(); r.Code != 0 {
			time.Sleep(200 * time.Millisecond)
			continue // its name is used up, should there be a container all the same
		}
		c.acting.Lock()
		c.due = append(c.due, a)
		c.acting.Unlock()
		switch p.name {
		case "turns":
			c.takesTurns(a, dice)
		case "left":
			time.Sleep(time.Duration(dice.IntN(2000)) * time.Millisecond)
			for c.l.Run(p.who, "timeout", "-s", "KILL", "25", "docker", "stop", "-t", "0", a.name).Code != 0 && !c.gone(a.id) && !c.isOver() {
				time.Sleep(100 * time.Millisecond)
			}
		}
		for !c.gone(a.id) && !c.isOver() {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// takesTurns lets a container's card work for a while, until it has lost it.
func (c *cast) takesTurns(a *actor, dice *rand.Rand) {
	for card := c.cardOf(a); card != "" && !c.isOver(); {
		time.Sleep(chaosIdle/2 + time.Duration(dice.Int64N(int64(chaosIdle)))) // it may be due right then
		if c.isOver() || c.slot(a.id) == "" {
			return
		}
		c.turning.Lock()
		works := c.utilise(card, "90")
		from := time.Now()
		time.Sleep(time.Second)
		c.turning.Unlock()
		if !works {
			continue
		}
		time.Sleep(time.Duration(1000+dice.IntN(3000)) * time.Millisecond)
		to := time.Now()
		for tries := 0; !c.utilise(card, "0") && tries < 600; tries++ { // else it works for ever
			time.Sleep(100 * time.Millisecond)
		}
		c.acting.Lock()
		a.turns = append(a.turns, span{from, to})
		c.acting.Unlock()
	}
}

func (c *cast) utilise(card, percent string) bool {
	return c.l.DS01("root", "gpu", "sim", "set", card, "--util", percent).Code == 0
}

// types sits at a terminal in a container, comes back whenever that is gone, and
// types.
func (c *cast) types(who, id string) {
	for !c.isOver() {
		conn, err := c.l.Person(who).Dial(c.t.Context(), c.l.GatewaySocket())
		if err == nil {
			err = sit(conn, id)
		}
		for err == nil && !c.isOver() {
			_, err = conn.Write([]byte("x\n"))
			time.Sleep(200 * time.Millisecond)
		}
		if conn != nil {
			_ = conn.Close() // she has gone
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// sit begins a program with a terminal in a container.
func sit(conn net.Conn, id string) error {
	reader := bufio.NewReader(conn)
	ask := func(path, head, body string) (*http.Response, error) {
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second)) // a socket takes it
		fmt.Fprintf(conn, "POST /v1.41%s HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", path, head, len(body), body)
		return http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
	}
	resp, err := ask("/containers/"+id+"/exec", "", `{"AttachStdin":true,"AttachStdout":true,"Tty":true,"Cmd":["cat"]}`)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var made struct {
		ID string `json:"Id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil {
		return err
	}
	resp, err = ask("/exec/"+made.ID+"/start", "Connection: Upgrade\r\nUpgrade: tcp\r\n", `{"Tty":true}`) //nolint:bodyclose // it is the connection
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("no terminal: %s", resp.Status)
	}
	_ = conn.SetDeadline(time.Time{})
	go io.Copy(io.Discard, reader)
	return nil
}

// unharmed checks that who must not lose anything hasn't.
func (c *cast) unharmed() {
	c.t.Helper()
	for _, a := range c.keepers {
		s := c.sight(a.id)
		if !s.ended.to.IsZero() || s.again || c.l.AtEngine("inspect", "-f", "{{.State.Running}} {{.RestartCount}}", a.id) != "true 0" {
			c.t.Errorf("%s was ended: %s", a.name, s)
		}
		if s.had && !s.lost.to.IsZero() || s.had != (a.part != "counts") {
			c.t.Errorf("%s has no card: %s", a.name, s)
		}
		for _, n := range c.notices(a, "") {
			if a.part != "typed" { // who can't reach a terminal doesn't sit at it
				c.t.Errorf("%s was warned: %s", a.name, n.text)
			}
		}
	}
}

// release ends all reasons to keep anything.
func (c *cast) release() {
	c.applaud()
	c.works.stop()
	c.l.OK("root", c.l.Binary(), "exempt", "remove", c.l.Login("erin"))
	c.l.OK("root", c.l.Binary(), "container", "unprotect", "safe", "--user", c.l.Login("alice"))
	c.l.OK("alice", "rm", filepath.Join(workspace(c.l, "alice", "alive"), ".keep-alive"))
	for _, name := range []string{"trains", "counts"} {
		folder := workspace(c.l, "alice", name)
		c.l.OK("alice", "touch", filepath.Join(folder, "end"))
		c.l.Eventually(name+" runs to its end", 10*time.Second, func() bool {
			_, err := os.Stat(filepath.Join(folder, "done"))
			return err == nil
		})
	}
	c.l.OK("gus", "docker", "rm", "-f", "fresh") // the hour after its start isn't over
}

// remaining returns what the engine has still.
func (c *cast) remaining() []string {
	var names []string
	for _, made := range c.l.EngineContainers() {
		names = append(names, strings.TrimPrefix(made.Name, "/")+" "+made.State.Status)
	}
	return names
}
