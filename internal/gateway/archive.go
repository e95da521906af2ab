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
// stands still meanwhile.
func (c *call) copying(record container.Record, do func(ctx context.Context) error) error {
	ctx, done, err := c.Launcher.Copy(c.r.Context(), record.ID)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.Closing:
			cancel() // nobody would let the container go
		case <-ctx.Done():
		}
	}()
	return do(ctx)
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

func (c *call) streamArchive(ctx context.Context, record container.Record) error {
	resp, err := c.ask(ctx, c.match.Method, c.path(record.ContainerID), c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	control := http.NewResponseController(c.w)
	defer control.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection may be gone
	c.w = &patient{c.w, control}
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
	client := &patientReader{from: c.r.Body, control: control}
	body, err := unpacked(client, c.r.Header.Get("Content-Encoding"))
	if err != nil {
		return err
	}
	review := func(h *tar.Header) (*tar.Header, error) {
		return admission.ReviewEntry(h, c.match.Query.Get("path"), record.Mounts)
	}
	return c.copying(record, func(ctx context.Context) error {
		from, to := io.Pipe()
		repacked := make(chan error, 1)
		go func() {
			err := repack(to, body, review)
			repacked <- err
			_ = to.CloseWithError(err) // it never fails
		}()
		resp, err := c.send(ctx, http.MethodPut, c.path(record.ContainerID), c.match.Query, "application/x-tar", from)
		if resp != nil {
			defer resp.Body.Close() //nolint:errcheck // relay reads it
		}
		if refused := settle(from, client, repacked); refused != nil && !errors.Is(refused, io.ErrClosedPipe) {
			return refused
		}
		if err != nil {
			return err
		}
		return c.relay(resp)
	})
}

// settle returns how the rewriting of an archive ended. One that the engine
// reads no longer is ended: its answer says why.
func settle(from *io.PipeReader, client *patientReader, repacked <-chan error) error {
	select {
	case err := <-repacked:
		return err
	default:
	}
	_ = from.Close() // it never fails
	client.giveUp()
	<-repacked
	return nil
}

// A patient writer gives up on a client that takes nothing for too long.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write writes, or fails after the stall.
func (p *patient) Write(data []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(stall)) // without one it waits longer
	return p.ResponseWriter.Write(data)
}

// Unwrap lets a response controller reach the connection.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// A patientReader gives up on a client that sends nothing for too long.
type patientReader struct {
	from    io.Reader
	control *http.ResponseController

	mu   sync.Mutex
	over bool
}

// Read reads, or fails after the stall.
func (p *patientReader) Read(data []byte) (int, error) {
	if !p.wait() {
		return 0, io.ErrClosedPipe
	}
	return p.from.Read(data)
}

func (p *patientReader) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		_ = p.control.SetReadDeadline(time.Now().Add(stall)) // without one it waits longer
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
