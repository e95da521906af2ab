// Package store keeps ds01's own records in SQLite: containers, their claims
// and the devices they hold, places in the queue, reservations, volumes,
// networks and ports. It decides nothing;
// the database itself refuses a second owner of a device, volume, subnet or
// port, and a second container of one name and owner.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite" // the driver registers itself as "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Store is one open database. It is safe for concurrent use; writes are
// serialised by SQLite.
type Store struct {
	db  *sql.DB
	log *os.File // SQLite's write-ahead log

	upsert, release, hold, remove *sql.Stmt
}

// Open opens or creates the database file at path, checks that it is whole
// and brings its schema up to date. A corrupt, read-only or newer database is
// an error of kind problem.ErrUnavailable; the file is left as it was.
func Open(ctx context.Context, path string) (*Store, error) {
	// NORMAL: what is written outlives ds01 at once, and the machine after Flush.
	dsn := url.URL{
		Scheme: "file", OmitHost: true, Path: path,
		RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(ON)&_txlock=immediate",
	}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, unusable(path, err)
	}
	db.SetMaxOpenConns(1) // one writer, and readers are served from the allocator's memory
	s := &Store{db: db}
	if err := s.prepare(ctx, path); err != nil {
		return nil, errors.Join(unusable(path, err), s.Close())
	}
	return s, nil
}

func unusable(path string, err error) error {
	return &problem.Error{
		What: "database " + path + " can't be used",
		Why:  problem.Because(problem.ErrUnavailable, err.Error()),
		Next: "Nothing was changed. Check the file's permissions and the disk; a damaged file can be put back from a backup, or moved away: ds01 then starts empty and quarantines the containers it finds.",
	}
}

func (s *Store) prepare(ctx context.Context, path string) error {
	var verdict string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("integrity check: %s", strings.ReplaceAll(verdict, "\n", " "))
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if err := s.openLog(path); err != nil {
		return err
	}
	return s.compile(ctx)
}

// openLog opens SQLite's log, which is there from the first write until the
// database is closed.
func (s *Store) openLog(path string) (err error) {
	if s.log, err = os.Open(path + "-wal"); err != nil { //nolint:gosec // the daemon's own file
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // read only
	return errors.Join(s.log.Sync(), folder.Sync())
}

// compile prepares what Save and Delete say each time.
func (s *Store) compile(ctx context.Context) error {
	for stmt, text := range map[**sql.Stmt]string{
		&s.upsert: `INSERT INTO containers
		(id, uid, login, name, state, container_id, held_until, created_at, image, interface, waits, hold_after_stop, mounts, restart, since,
		at_start, asked, rest, origin)
		VALUES (?,?,?,?,?,nullif(?,''),?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT(id) DO UPDATE SET uid=excluded.uid, login=excluded.login, name=excluded.name, state=excluded.state,
		container_id=excluded.container_id, held_until=excluded.held_until, image=excluded.image, interface=excluded.interface,
		waits=excluded.waits, hold_after_stop=excluded.hold_after_stop, mounts=excluded.mounts, restart=excluded.restart,
		since=excluded.since, at_start=excluded.at_start, asked=excluded.asked, rest=excluded.rest, origin=excluded.origin`,
		&s.release: "DELETE FROM devices WHERE claim = ?",
		&s.hold:    "INSERT INTO devices (claim, position, uuid, slot, share, held) VALUES (?,?,?,?,?,?)",
		&s.remove:  "DELETE FROM containers WHERE id = ?",
	} {
		var err error
		if *stmt, err = s.db.PrepareContext(ctx, text); err != nil { //nolint:sqlclosecheck // they live as long as the database
			return err
		}
	}
	return nil
}

// Close closes the database.
func (s *Store) Close() error {
	err := s.db.Close()
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return err
}

// Flush returns once everything saved before is on the disk: a power cut takes
// back what was not flushed, the last changes first. New claims and mounts are
// worth the wait. All else can be found out again, since a cut also ends every
// container: the reconciler binds a claim by its label, ends what doesn't run
// and forgets what isn't there.
func (s *Store) Flush() error {
	// What SQLite has moved from the log into the database, it has synced.
	if err := s.log.Sync(); err != nil {
		return fmt.Errorf("flush the database: %w", err)
	}
	return nil
}

// Containers returns every record, by creation time and claim id.
func (s *Store) Containers(ctx context.Context) ([]container.Record, error) {
	devices, err := s.devices(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := s.ports(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.QueryContext(ctx, `SELECT id, uid, login, name, state, coalesce(container_id,''), held_until, created_at,
		image, interface, waits, hold_after_stop, mounts, restart, since, at_start, asked, rest, origin FROM containers ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("read containers: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []container.Record
	for rows.Next() {
		var c container.Record
		var held, created, hold, since int64
		var mounts, restart, other []byte
		if err := rows.Scan(&c.ID, &c.UID, &c.Login, &c.Name, &c.State, &c.ContainerID, &held, &created,
			&c.Image, &c.Interface, &c.Waits, &hold, &mounts, &restart, &since, &c.AtStart, &c.Asked, &other, &c.Origin); err != nil {
			return nil, fmt.Errorf("read containers: %w", err)
		}
		if err := json.Unmarshal(mounts, &c.Mounts); err != nil {
			return nil, fmt.Errorf("read mounts of claim %s: %w", c.ID, err)
		}
		if err := json.Unmarshal(restart, &c.Restart); err != nil {
			return nil, fmt.Errorf("read restarts of claim %s: %w", c.ID, err)
		}
		if err := readRest(other, &c); err != nil {
			return nil, fmt.Errorf("read claim %s: %w", c.ID, err)
		}
		c.HeldUntil, c.CreatedAt, c.Quota.HoldAfterStop = fromNanos(held), fromNanos(created), time.Duration(hold)
		c.Devices, c.Ports, c.Since = devices[c.ID], ports[c.ID], fromNanos(since)
		all = append(all, c)
	}
	return all, rows.Err()
}

func (s *Store) devices(ctx context.Context) (map[string][]gpu.Grant, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT claim, uuid, slot, share FROM devices ORDER BY claim, position")
	if err != nil {
		return nil, fmt.Errorf("read devices: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	all := map[string][]gpu.Grant{}
	for rows.Next() {
		var claim string
		var g gpu.Grant
		var share int64
		if err := rows.Scan(&claim, &g.UUID, &g.Slot, &share); err != nil {
			return nil, fmt.Errorf("read devices: %w", err)
		}
		g.Share = quantity.GPUShare(share)
		all[claim] = append(all[claim], g)
	}
	return all, rows.Err()
}

// Save writes one record with its devices, new or changed, in one
// transaction. A device that another record holds, or a name its owner has
// already, is an error of kind problem.ErrConflict and nothing is written. It
// outlives this process at once, and the machine after Flush.
func (s *Store) Save(ctx context.Context, c container.Record) error {
	return s.save(ctx, c, func(*sql.Tx) error { return nil })
}

// save writes a record after something else, in one transaction.
func (s *Store) save(ctx context.Context, c container.Record, first func(tx *sql.Tx) error) error {
	mounts, err := json.Marshal(c.Mounts)
	if err != nil {
		return fmt.Errorf("encode mounts of claim %s: %w", c.ID, err)
	}
	restart, err := json.Marshal(c.Restart)
	if err != nil {
		return fmt.Errorf("encode restarts of claim %s: %w", c.ID, err)
	}
	other, err := json.Marshal(restOf(c))
	if err != nil {
		return fmt.Errorf("encode claim %s: %w", c.ID, err)
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("save claim %s: %w", c.ID, err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing, after a failure that error is the one to tell
	if err := first(tx); err != nil {
		return err
	}
	err = exec(ctx, tx, s.upsert,
		c.ID, c.UID, c.Login, c.Name, c.State, c.ContainerID, nanos(c.HeldUntil), nanos(c.CreatedAt),
		c.Image, c.Interface, c.Waits, int64(c.Quota.HoldAfterStop), string(mounts), string(restart), nanos(c.Since),
		c.AtStart, c.Asked, string(other), c.Origin)
	if err != nil {
		return fmt.Errorf("save claim %s: %w", c.ID, conflict(err))
	}
	if err := exec(ctx, tx, s.release, c.ID); err != nil {
		return fmt.Errorf("save devices of claim %s: %w", c.ID, err)
	}
	for i, d := range c.Devices {
		// A released claim remembers its devices without holding them.
		err := exec(ctx, tx, s.hold,
			c.ID, i, d.UUID, d.Slot, int64(d.Share), c.State != gpu.Released)
		if err != nil {
			return fmt.Errorf("save device %s of claim %s: %w", d.Slot, c.ID, conflict(err))
		}
	}
	if err := savePorts(ctx, tx, c); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("save claim %s: %w", c.ID, err)
	}
	return nil
}

// exec runs a statement as a part of a transaction.
func exec(ctx context.Context, tx *sql.Tx, stmt *sql.Stmt, args ...any) error {
	_, err := tx.StmtContext(ctx, stmt).ExecContext(ctx, args...) //nolint:sqlclosecheck // it is closed with the transaction
	return err
}

// Delete removes a record and its devices. Deleting what isn't there is no
// error.
func (s *Store) Delete(ctx context.Context, claim string) error {
	if _, err := s.remove.ExecContext(ctx, claim); err != nil {
		return fmt.Errorf("delete claim %s: %w", claim, err)
	}
	return nil
}

func conflict(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT {
		return fmt.Errorf("%w: %w", problem.ErrConflict, err)
	}
	return err
}

// nanos stores the zero time as 0.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
