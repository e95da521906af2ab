package clienttest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// Process is one exec as the program in the container sees it.
type Process struct {
	Container string
	Command   []string
	TTY       bool
	HasInput  bool        // the client attached its stdin
	Stdin     io.Reader   // ends when the client closes its side
	Stdout    io.Writer   // the terminal, where there is one
	Stderr    io.Writer   // the terminal, where there is one
	Sizes     chan [2]int // rows and columns as the client tells them

	exitCode *int
}

func (f *Fake) streams(mux *http.ServeMux) {
	const root = "/docker/v1.41"
	mux.HandleFunc("GET "+root+"/containers/{id}/json", f.inspect)
	mux.HandleFunc("GET "+root+"/containers/{id}/logs", f.logs)
	mux.HandleFunc("GET "+root+"/containers/{id}/archive", f.archive)
	mux.HandleFunc("PUT "+root+"/containers/{id}/archive", f.extract)
	mux.HandleFunc("POST "+root+"/containers/{id}/exec", f.createExec)
	mux.HandleFunc("POST "+root+"/exec/{id}/start", f.startExec)
	mux.HandleFunc("POST "+root+"/exec/{id}/resize", f.resizeExec)
	mux.HandleFunc("GET "+root+"/exec/{id}/json", f.inspectExec)
}

// name returns the name of a container by name or id, "" where there is none.
func (f *Fake) name(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.index(id); i >= 0 {
		return f.containers[i].Name
	}
	return ""
}

func (f *Fake) inspect(w http.ResponseWriter, r *http.Request) {
	name := f.name(r.PathValue("id"))
	if name == "" {
		dockerError(w, missing(r.PathValue("id")))
		return
	}
	reply(w, map[string]any{"Config": map[string]any{"Tty": f.TTY[name]}})
}

func (f *Fake) logs(w http.ResponseWriter, r *http.Request) {
	name := f.name(r.PathValue("id"))
	text := f.Logs[name]
	if f.TTY[name] {
		fmt.Fprint(w, text[0])
		return
	}
	_, _ = frames{w, 1}.Write([]byte(text[0]))
	_, _ = frames{w, 2}.Write([]byte(text[1]))
}

func (f *Fake) createExec(w http.ResponseWriter, r *http.Request) {
	name := f.name(r.PathValue("id"))
	if name == "" {
		dockerError(w, missing(r.PathValue("id")))
		return
	}
	var ask struct {
		AttachStdin, Tty bool
		Cmd              []string
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		dockerError(w, err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.processes == nil {
		f.processes = map[string]*Process{}
	}
	id := "exec" + strconv.Itoa(len(f.processes)+1)
	f.processes[id] = &Process{
		Container: name, Command: ask.Cmd, TTY: ask.Tty, HasInput: ask.AttachStdin, Sizes: make(chan [2]int, 16),
	}
	w.WriteHeader(http.StatusCreated)
	reply(w, map[string]string{"Id": id})
}

func (f *Fake) process(w http.ResponseWriter, r *http.Request) *Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[r.PathValue("id")]
	if p == nil {
		dockerError(w, missing(r.PathValue("id")))
	}
	return p
}

func (f *Fake) startExec(w http.ResponseWriter, r *http.Request) {
	p := f.process(w, r)
	if p == nil {
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "tcp") {
		dockerError(w, errors.New("the client didn't ask for an upgrade"))
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		dockerError(w, err)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		dockerError(w, err)
		return
	}
	defer func() { _ = conn.Close() }()
	const head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
	if _, err := io.WriteString(conn, head); err != nil {
		return
	}
	p.Stdin, p.Stdout, p.Stderr = bufferedInput(buffered.Reader), frames{conn, 1}, frames{conn, 2}
	if p.TTY {
		p.Stdout, p.Stderr = conn, conn
	}
	code := 0
	if f.Run != nil {
		code = f.Run(p)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p.exitCode = &code
}

// bufferedInput hides everything but Read.
func bufferedInput(r *bufio.Reader) io.Reader { return struct{ io.Reader }{r} }

func (f *Fake) resizeExec(w http.ResponseWriter, r *http.Request) {
	p := f.process(w, r)
	if p == nil {
		return
	}
	rows, errRows := strconv.Atoi(r.FormValue("h"))
	columns, errColumns := strconv.Atoi(r.FormValue("w"))
	if err := errors.Join(errRows, errColumns); err != nil {
		dockerError(w, err)
		return
	}
	p.Sizes <- [2]int{rows, columns}
}

func (f *Fake) inspectExec(w http.ResponseWriter, r *http.Request) {
	p := f.process(w, r)
	if p == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	reply(w, map[string]any{"Running": p.exitCode == nil, "ExitCode": p.exitCode})
}

// frames writes the engine's multiplexed format.
type frames struct {
	to     io.Writer
	stream byte
}

// Write sends p as one frame.
func (f frames) Write(p []byte) (int, error) {
	frame := append([]byte{f.stream, 0, 0, 0, 0, 0, 0, 0}, p...)
	binary.BigEndian.PutUint32(frame[4:], uint32(len(p))) //nolint:gosec // tests write short texts
	if _, err := f.to.Write(frame); err != nil {
		return 0, fmt.Errorf("write a frame: %w", err)
	}
	return len(p), nil
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that hung up is the test's business
}

func apiError(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(problem.HTTPStatus(err))
	_ = json.NewEncoder(w).Encode(problem.Describe(err)) // see reply
}

func dockerError(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(problem.HTTPStatus(err))
	_ = json.NewEncoder(w).Encode(map[string]string{"message": problem.OneLine(err)}) // see reply
}
