package gateway_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// conversation answers one hijacked stream of the engine: it agrees, reads to
// the end of the client's input, answers, and hangs up.
func conversation(t *testing.T, l *lab, head string) (seen chan *http.Request) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", l.engine.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	seen = make(chan *http.Request, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reader := bufio.NewReader(conn)
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Header.Set("Body", string(body))
		seen <- r
		io.WriteString(conn, head)
		if !strings.Contains(head, "UPGRADED") {
			return
		}
		input, _ := io.ReadAll(reader)
		io.WriteString(conn, "you said "+string(input))
	}()
	return seen
}

const upgraded = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

// stream sends a request with input behind it, ends the input, and returns
// all that came back.
func (l *lab) stream(t *testing.T, uid int, request, input string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", l.sockets[uid])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request+input); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestTheEndOfTheClientsInputReachesTheContainerAndItsAnswerTheClient(t *testing.T) {
	l := newLab(t)
	id := l.create(t, alice)
	seen := conversation(t, l, upgraded)
	got := l.stream(t, alice, "POST /v1.41/containers/web/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nX-Evil: 1\r\nContent-Length: 0\r\n\r\n", "hello")
	if !strings.HasPrefix(got, "HTTP/1.1 101 UPGRADED\r\n") || !strings.HasSuffix(got, "you said hello") {
		t.Errorf("got %q", got)
	}
	r := <-seen
	if r.Method != http.MethodPost || r.URL.RequestURI() != "/v1.41/containers/"+id+"/attach?stdin=1&stream=1" || r.Header.Get("Upgrade") != "tcp" || r.Header.Get("X-Evil") != "" {
		t.Errorf("the engine was asked %s %s with %v", r.Method, r.URL, r.Header)
	}
}

func TestWithoutTheEnginesAgreementThereIsNoTunnel(t *testing.T) {
	l := newLab(t)
	l.create(t, alice)
	conversation(t, l, "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 31\r\n\r\n{\"message\":\"it isn't running!!\"}")
	got := l.stream(t, alice, "POST /v1.41/containers/web/attach?stream=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n",
		"POST /v1.41/containers/create HTTP/1.1\r\nHost: d\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 409 ") || !strings.Contains(got, "it isn't running") {
		t.Errorf("got %q", got)
	}
}

func TestAnExecIsStartedWithABodyOfOurs(t *testing.T) {
	l := newLab(t)
	id := l.create(t, alice)
	l.engine.answers["GET /exec/e1/json"] = `{"ContainerID":"` + id + `"}`
	seen := conversation(t, l, upgraded)
	const body = `{ "Detach" : false, "Tty":true }`
	got := l.stream(t, alice, "POST /v1.41/exec/e1/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n"+body, "ls\n")
	if !strings.HasSuffix(got, "you said ls\n") {
		t.Errorf("got %q", got)
	}
	if r := <-seen; r.URL.Path != "/v1.41/exec/e1/start" || r.Header.Get("Body") != `{"Tty":true}` {
		t.Errorf("the engine was asked %s with %s", r.URL, r.Header.Get("Body"))
	}
}

func TestACommandThatWasPreparedHereIsStartedWithoutAsking(t *testing.T) {
	l := newLab(t)
	id := l.create(t, alice)
	l.engine.answers["POST /containers/"+id+"/exec"] = `201!{"Id":"e9"}`
	if got := l.ask(t, alice, "POST", "/v1.41/containers/web/exec", `{"Cmd":["ls"]}`); got.status != 201 {
		t.Fatalf("%+v", got)
	}
	const start = "POST /v1.41/exec/e9/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	seen := conversation(t, l, upgraded)
	if got := l.stream(t, alice, start, "x"); !strings.HasSuffix(got, "you said x") {
		t.Errorf("alice got %q", got)
	}
	<-seen
	if l.engine.last() != "POST /v1.41/containers/"+id+"/exec" {
		t.Errorf("the engine was asked %s", l.engine.last())
	}
	l.engine.answers["GET /exec/e9/json"] = `{"ContainerID":"` + id + `"}`
	if got := l.stream(t, bob, start, ""); !strings.HasPrefix(got, "HTTP/1.1 404") {
		t.Errorf("bob got %q", got)
	}
}

func TestStreamsEndWithTheDaemon(t *testing.T) {
	l := newLab(t)
	l.create(t, alice)
	conversation(t, l, upgraded)
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", l.sockets[alice])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /v1.41/containers/web/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", resp, err)
	}
	defer resp.Body.Close()
	close(l.closing)
	if _, err := io.ReadAll(reader); err != nil { // it comes to its end
		t.Error(err)
	}
}

func TestWhatIsTypedAtATerminalIsKnown(t *testing.T) {
	const (
		head   = " HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: "
		attach = "POST /v1.41/containers/web/attach?stream=1&stdin=1" + head + "0\r\n\r\n"
		start  = "POST /v1.41/exec/e1/start" + head + "2\r\n\r\n{}"
	)
	with := func(tty string) func(l *lab, id string) {
		return func(l *lab, id string) {
			l.engine.answers["GET /containers/"+id+"/json"] = `{"Config":{"Tty":` + tty + `}}`
		}
	}
	prepared := func(body string) func(l *lab, id string) {
		return func(l *lab, id string) {
			l.engine.answers["POST /containers/"+id+"/exec"] = `201!{"Id":"e1"}`
			if got := l.ask(t, alice, "POST", "/v1.41/containers/web/exec", body); got.status != 201 {
				t.Errorf("%+v", got)
			}
		}
	}
	elsewhere := func(tty string) func(l *lab, id string) {
		return func(l *lab, id string) {
			l.engine.answers["GET /exec/e1/json"] = `{"ContainerID":"` + id + `","ProcessConfig":{"tty":` + tty + `}}`
		}
	}
	for name, c := range map[string]struct {
		given    func(l *lab, id string)
		request  string
		input    string
		terminal bool // there was one
		typed    int
	}{
		"at the container's own":            {with("true"), attach, "ls\n", true, 1},
		"nothing":                           {with("true"), attach, "", true, 0},
		"into a program without one":        {with("false"), attach, "ls\n", false, 0},
		"at one that is only looked at":     {with("true"), strings.ReplaceAll(attach, "stdin=1", "stdin=0"), "", false, 0},
		"the engine doesn't say":            {func(*lab, string) {}, attach, "ls\n", true, 1},
		"the engine says that it is broken": {func(l *lab, id string) { l.engine.answers["GET /containers/"+id+"/json"] = `500!{"message":"x"}` }, attach, "ls\n", true, 1},
		"at that of a command":              {prepared(`{"Cmd":["sh"],"Tty":true,"AttachStdin":true}`), start, "ls\n", true, 1},
		"into a command without one":        {prepared(`{"Cmd":["sh"],"AttachStdin":true}`), start, "ls\n", false, 0},
		"at that of one that was forgotten": {elsewhere("true"), start, "ls\n", true, 1},
		"into one that was forgotten":       {elsewhere("false"), start, "ls\n", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			id := l.create(t, alice)
			c.given(l, id)
			conversation(t, l, upgraded)
			if got := l.stream(t, alice, c.request, c.input); !strings.HasSuffix(got, "you said "+c.input) {
				t.Errorf("got %q", got)
			}
			if typed, terminal := l.terminals.Take()[id]; typed != c.typed || terminal != c.terminal {
				t.Errorf("typed at %d, terminal %t", typed, terminal)
			}
			for end := time.Now().Add(10 * time.Second); len(l.terminals.Take()) != 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it is still there")
				}
			}
		})
	}
}
