package gateway

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"sync"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// pathStat is the header in which the engine tells what is at a path.
const pathStat = "X-Docker-Container-Path-Stat"

// stall is how long a client may keep a copy waiting: the container stands
// still meanwhile.
const stall = time.Minute

// copying does something with the files of the caller's container, which
// stands still meanwhile. The context tells when to break off. What the engine
// was asked by then is waited for: it would begin with what it was asked also
// when nobody listens any more, and find the container let go.
func (c *call) copying(record container.Record, do func(during context.Context) error) error {
	during, done, err := c.Launcher.Copy(c.r.Context(), record.ID)
	if err != nil {
		return err
	}
	defer done()
	during, cancel := context.WithCancel(during)
	defer cancel()
	go func() {
		select {
		case <-c.Closing:
			cancel() // nobody would let the container go
		case <-during.Done():
		}
	}()
	return do(during)
}

// awaitCopies lets a command wait until a container stands still no longer.
func (c *call) awaitCopies(record container.Record) {
	c.Launcher.AwaitCopies(c.r.Context(), record.ID, stall) // after that the engine says why it can't be run
}

// archive tells what is at a path of the caller's container, or streams it.
func (c *call) archive() error {
	record, err := c.archived()
	if err == nil {
		err = c.copying(record, func(ctx context.Context) error { return c.streamArchive(ctx, record) })
	}
	if errors.Is(err, problem.ErrDenied) && c.match.Op == admission.ArchiveStat {
		return c.hiddenStat()
	}
	return err
}

func (c *call) streamArchive(during context.Context, record container.Record) error {
	ctx, hangUp := context.WithCancel(context.WithoutCancel(during))
	defer hangUp()
	resp, err := c.ask(ctx, c.match.Method, c.path(record.ContainerID), c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	control := http.NewResponseController(c.w)
	defer control.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection may be gone
	// The engine has begun: now it ends when its client does.
	defer context.AfterFunc(during, func() {
		hangUp()
		_ = control.SetWriteDeadline(time.Unix(1, 0)) // without one the client's stall ends it
	})()
	c.w = &patient{c.w, control, c.Now}
	return c.relay(resp)
}

// hiddenStat answers about a path that is closed to copies. The answer to a
// HEAD has no room for a reason, and clients take a refusal for "no such
// directory": told that there is one, they go on to the request that is refused
// with its reason.
func (c *call) hiddenStat() error {
	stat, err := json.Marshal(map[string]any{
		"name": path.Base(c.match.Query.Get("path")), "size": 0, "mode": os.ModeDir | 0o700, "mtime": time.Time{}, "linkTarget": "",
	})
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.w.Header().Set(pathStat, base64.StdEncoding.EncodeToString(stat))
	return errAnswered
}

// archived returns the container of an archive request whose path is one that
// the engine may reach.
func (c *call) archived() (container.Record, error) {
	record, err := c.own()
	if err != nil {
		return record, err
	}
	return record, admission.ReviewArchivePath(c.match.Query.Get("path"), record.Mounts)
}

// extract writes the client's archive into the caller's container.
func (c *call) extract() error {
	record, err := c.archived()
	if err != nil {
		return err
	}
	control := http.NewResponseController(c.w)
	defer control.SetReadDeadline(time.Time{}) //nolint:errcheck // the connection may be gone
	client := &patientReader{from: c.r.Body, control: control, now: c.Now}
	body, err := unpacked(client, c.r.Header.Get("Content-Encoding"))
	if err != nil {
		return err
	}
	review := func(h *tar.Header) (*tar.Header, error) {
		return admission.ReviewEntry(h, c.match.Query.Get("path"), record.Mounts)
	}
	return c.copying(record, func(during context.Context) error {
		defer context.AfterFunc(during, client.giveUp)()
		return c.sendArchive(context.WithoutCancel(during), record, client, func(to io.Writer) error { return repack(to, body, review) })
	})
}

// sendArchive has the engine write what write writes. A refusal on the way
// ends the archive for the engine like a whole one.
func (c *call) sendArchive(ctx context.Context, record container.Record, client *patientReader, write func(io.Writer) error) error {
	from, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		written <- write(to)
		_ = to.Close() // it never fails
	}()
	resp, err := c.send(ctx, http.MethodPut, c.path(record.ContainerID), c.match.Query, "application/x-tar", from)
	if resp != nil {
		defer resp.Body.Close() //nolint:errcheck // relay reads it
	}
	if refused := settle(from, client, written); refused != nil && !errors.Is(refused, io.ErrClosedPipe) {
		return refused
	}
	if err != nil {
		return err
	}
	return c.relay(resp)
}

// settle returns how the writing of an archive ended. One that the engine
// reads no longer is ended.
func settle(from *io.PipeReader, client *patientReader, written <-chan error) error {
	select {
	case err := <-written:
		return err
	default:
	}
	_ = from.Close() // it never fails
	client.giveUp()
	if err := <-written; err != nil {
		return io.ErrClosedPipe // the engine's answer says why
	}
	return nil
}

// A patient writer gives up on a client that takes nothing for too long.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	now     func() time.Time
}

// Write writes, or fails after the stall.
func (p *patient) Write(data []byte) (int, error) {
	_ = p.control.SetWriteDeadline(p.now().Add(stall)) // without one it waits longer
	return p.ResponseWriter.Write(data)
}

// Unwrap lets a response controller reach the connection.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// errBrokenOff ends an archive that nobody waits for any longer.
var errBrokenOff = errors.New("the copy was broken off")

// A patientReader gives up on a client that sends nothing for too long.
type patientReader struct {
	from    io.Reader
	control *http.ResponseController
	now     func() time.Time

	mu   sync.Mutex
	over bool
}

// Read reads, or fails after the stall.
func (p *patientReader) Read(data []byte) (int, error) {
	if !p.wait() {
		return 0, errBrokenOff
	}
	return p.from.Read(data)
}

func (p *patientReader) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		_ = p.control.SetReadDeadline(p.now().Add(stall)) // without one it waits longer
	}
	return !p.over
}

// giveUp ends the read under way, and all further ones.
func (p *patientReader) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	_ = p.control.SetReadDeadline(time.Unix(1, 0)) // without one the client ends it
}
