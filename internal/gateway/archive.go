package gateway

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"sync"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

// pathStat is the header in which the engine tells what is at a path.
const pathStat = "X-Docker-Container-Path-Stat"

// stall is how long a client may keep a copy waiting: the container can't be
// started meanwhile.
const stall = time.Minute

// copying does something with the files of the caller's container, which
// stands still meanwhile; beside what is mounted in it, where that would be gone
// through. The context tells when to break off. What the engine was asked by then
// is waited for: it would begin with what it was asked also when nobody listens
// any more, and find the container let go.
func (c *call) copying(record container.Record, beside bool, do func(during context.Context) error) error {
	during, done, err := c.Launcher.Copy(c.r.Context(), record.ID, beside)
	if err != nil {
		return err
	}
	return c.meanwhile(during, done, do)
}

// holding does something with the files of the caller's container, which may
// run meanwhile but isn't started. The context tells when to break off.
func (c *call) holding(record container.Record, do func(during context.Context) error) error {
	during, done, err := c.Launcher.Hold(c.r.Context(), record.ID)
	if err != nil {
		return err
	}
	return c.meanwhile(during, done, do)
}

func (c *call) meanwhile(during context.Context, done func(), do func(context.Context) error) error {
	defer done()
	during, cancel := c.untilClosing(during)
	defer cancel()
	return do(during)
}

// untilClosing returns a context that also ends when the daemon stops.
func (c *call) untilClosing(ctx context.Context) (context.Context, context.CancelFunc) {
	during, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-c.Closing:
			cancel() // nobody would let the container go
		case <-during.Done():
		}
	}()
	return during, cancel
}

// awaitCopies lets a command wait until a container stands still no longer.
func (c *call) awaitCopies(record container.Record) {
	c.Launcher.AwaitCopies(c.r.Context(), record.ID, stall) // after that the engine says why it can't be run
}

// archive tells what is at a path of the caller's container, or streams it.
func (c *call) archive() error {
	site, err := c.archived()
	switch {
	case err != nil:
	case site.in.Target != "":
		err = c.archiveTree(c.r.Context(), site)
	case site.seen.Layer.Known():
		err = c.holding(site.record, func(ctx context.Context) error { return c.archiveTree(ctx, site) })
	default:
		err = c.copying(site.record, true, func(ctx context.Context) error { return c.streamArchive(ctx, site.record) })
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
	// The engine has begun: now it ends when its client does.
	defer c.bePatient(during, hangUp)()
	return c.relay(resp)
}

// bePatient makes the answer fail when its client takes nothing for too long,
// or when during ends, after which it calls hangUp; until undone.
func (c *call) bePatient(during context.Context, hangUp func()) (undo func()) {
	control := http.NewResponseController(c.w)
	stop := context.AfterFunc(during, func() {
		hangUp()
		_ = control.SetWriteDeadline(time.Unix(1, 0)) // without one the client's stall ends it
	})
	c.w = &patient{c.w, control, c.Now}
	return func() {
		stop()
		_ = control.SetWriteDeadline(time.Time{}) // the connection may be gone
	}
}

// hiddenStat answers about a path that is closed to copies. The answer to a
// HEAD has no room for a reason, and clients take a refusal for "no such
// directory": told that there is one, they go on to the request that is refused
// with its reason.
func (c *call) hiddenStat() error {
	if err := c.tellStat(0, fs.ModeDir|0o700, time.Time{}, ""); err != nil {
		return err
	}
	return errAnswered
}

// tellStat answers what is at the path of an archive request.
func (c *call) tellStat(size int64, mode fs.FileMode, modified time.Time, link string) error {
	stat, err := json.Marshal(map[string]any{
		"name": path.Base(c.match.Query.Get("path")), "size": size, "mode": mode, "mtime": modified, "linkTarget": link,
	})
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.w.Header().Set(pathStat, base64.StdEncoding.EncodeToString(stat))
	return nil
}

// site is where the path of an archive request lies.
type site struct {
	record container.Record
	seen   container.Observed
	in     volume.Mounted // the volume in which it lies; without a target the container's own layer
}

// archived returns where the path of an archive request lies, if files there
// may be copied.
func (c *call) archived() (s site, err error) {
	if s.record, err = c.own(); err != nil {
		return s, err
	}
	if s.seen, err = c.Launcher.Inside(c.r.Context(), s.record); err != nil {
		return s, err
	}
	s.in, err = admission.ReviewArchivePath(c.match.Query.Get("path"), s.record.Mounts, s.seen.Volumes)
	if err == nil && s.in.Target == "" {
		err = c.refuseUnconfined(s.record, s.seen)
	}
	return s, err
}

// confined is the API of the first engines (23.0) that mount what a container
// has where only they see it while they copy. With those before, names that
// change meanwhile lead to the host.
const confined = 42

// refuseUnconfined refuses to let such an engine at a container's files, where
// ds01 doesn't know of them.
func (c *call) refuseUnconfined(record container.Record, seen container.Observed) error {
	if seen.Layer.Known() || minor(c.API()) >= confined {
		return nil
	}
	return &problem.Error{
		What: "Files of " + record.Name + " not read",
		Why:  problem.Because(problem.ErrDenied, "this engine reads and writes them without confining itself to the container, and ds01 can do it only where the storage driver is overlay2"),
		Next: fmt.Sprintf("Copy through a command: docker exec %s tar -cf - PATH.", record.Name),
	}
}

// still has the engine look at the files of the caller's container. It finds its
// way by names there, as root of the host: the container stands still, and what
// the engine sees is a snapshot, whose names nobody can change.
func (c *call) still(record container.Record, do func(context.Context) error) error {
	seen, err := c.Launcher.Look(c.r.Context(), record)
	if err == nil {
		err = c.refuseUnconfined(record, seen)
	}
	if err != nil {
		return err
	}
	return c.copying(record, !seen.Layer.Known(), func(during context.Context) error {
		if !seen.Layer.Known() {
			return do(during)
		}
		defer c.lockLayer(record)()
		undo, err := c.Files.Snapshot(seen)
		if err != nil {
			return err
		}
		defer func() {
			if err := undo(); err != nil {
				c.Log.ErrorContext(during, "snapshot still in place of a container's files", "container", record.ContainerID, "error", err)
			}
		}()
		return do(during)
	})
}

// lockLayer keeps a container's files from being opened while a snapshot stands
// in their place, and a second snapshot from being taken.
func (c *call) lockLayer(record container.Record) (unlock func()) {
	return c.Ledger.Lock("layer of " + record.ID)
}

// extract writes the client's archive into the caller's container.
func (c *call) extract() error {
	site, err := c.archived()
	if err != nil {
		return err
	}
	control := http.NewResponseController(c.w)
	defer control.SetReadDeadline(time.Time{}) //nolint:errcheck // the connection may be gone
	client := &patientReader{from: c.r.Body, control: control, now: c.Now}
	room := &inflow{from: client, look: func() error { return c.room("Files not copied", 0) }}
	body, err := unpacked(room, c.r.Header.Get("Content-Encoding"))
	if err != nil {
		return err
	}
	review := func(h *tar.Header) (*tar.Header, error) {
		return admission.ReviewEntry(h, c.match.Query.Get("path"), site.record.Mounts, site.seen.Volumes)
	}
	write := func(to io.Writer) error {
		return c.guard(c.r.Context(), brokenBy("Files not copied"), func() error { return repack(to, body, review) })
	}
	if site.in.Target != "" {
		during, cancel := c.untilClosing(c.r.Context())
		defer cancel()
		defer context.AfterFunc(during, client.giveUp)()
		return c.extractToTree(during, site, client, write)
	}
	if site.seen.Layer.Known() {
		return c.holding(site.record, func(during context.Context) error {
			defer context.AfterFunc(during, client.giveUp)()
			return c.extractToTree(during, site, client, write)
		})
	}
	return c.copying(site.record, true, func(during context.Context) error {
		defer context.AfterFunc(during, client.giveUp)()
		return c.sendArchive(context.WithoutCancel(during), site.record, client, write)
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
	resp, err := c.send(ctx, http.MethodPut, c.path(record.ContainerID), c.match.Query, from, map[string]string{"Content-Type": "application/x-tar"})
	if resp != nil {
		defer resp.Body.Close() //nolint:errcheck // relay reads it
	}
	if refused := settle(c.w.Header(), from, client, written); refused != nil && !errors.Is(refused, io.ErrClosedPipe) {
		return refused
	}
	if err != nil {
		return err
	}
	return c.relay(resp)
}

// settle returns how the writing of an archive ended. One that nobody reads any
// longer is ended, and its connection with it: the rest of it is still to come.
func settle(answer http.Header, from *io.PipeReader, client *patientReader, written <-chan error) error {
	select {
	case err := <-written:
		return err
	default:
	}
	answer.Set("Connection", "close")
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
