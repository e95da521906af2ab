package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

// queueTables hold places in the queue with what is kept for them, how long
// devices were held, and reservations made by command. A device that a
// container holds can't be kept for a ticket, nor the other way round.
const queueTables = `
ALTER TABLE containers ADD COLUMN since INTEGER NOT NULL DEFAULT 0; -- unix nanoseconds, 0: holds nothing, or from an older ds01
CREATE TABLE tickets (
	id        TEXT PRIMARY KEY,
	uid       INTEGER NOT NULL,
	login     TEXT NOT NULL,
	request   TEXT NOT NULL,                      -- JSON, gpu.Request
	exact     TEXT NOT NULL,                      -- JSON, UUIDs
	claim     TEXT NOT NULL,                      -- '': for a container still to be made
	joined_at INTEGER NOT NULL,                   -- unix nanoseconds
	until     INTEGER NOT NULL,                   -- unix nanoseconds, 0: it waits
	told      INTEGER NOT NULL
) STRICT;
CREATE TABLE ticket_devices (
	ticket   TEXT NOT NULL REFERENCES tickets(id) ON DELETE CASCADE,
	position INTEGER NOT NULL,
	uuid     TEXT NOT NULL UNIQUE,
	slot     TEXT NOT NULL,
	share    INTEGER NOT NULL,                    -- 1/840 of a GPU
	PRIMARY KEY (ticket, position)
) STRICT;
CREATE TRIGGER kept_for_a_ticket BEFORE INSERT ON devices
	WHEN NEW.held = 1 AND EXISTS (SELECT 1 FROM ticket_devices WHERE uuid = NEW.uuid)
	BEGIN SELECT RAISE(ABORT, 'kept for a ticket'); END;
CREATE TRIGGER held_by_a_claim BEFORE INSERT ON ticket_devices
	WHEN EXISTS (SELECT 1 FROM devices WHERE uuid = NEW.uuid AND held = 1)
	BEGIN SELECT RAISE(ABORT, 'held by a claim'); END;
CREATE TABLE uses (
	claim   TEXT NOT NULL,
	began   INTEGER NOT NULL,                     -- unix nanoseconds
	ended   INTEGER NOT NULL,                     -- unix nanoseconds
	uid     INTEGER NOT NULL,
	share   INTEGER NOT NULL,                     -- 1/840 of a GPU
	PRIMARY KEY (claim, began)
) STRICT;
CREATE INDEX uses_by_end ON uses (ended);
CREATE TABLE reservations (
	id      TEXT PRIMARY KEY,
	uid     INTEGER NOT NULL,
	login   TEXT NOT NULL,
	devices TEXT NOT NULL,                        -- JSON, slots
	began   INTEGER NOT NULL,                     -- unix nanoseconds
	ended   INTEGER NOT NULL,                     -- unix nanoseconds
	reason  TEXT NOT NULL,
	source  TEXT NOT NULL
) STRICT;`

// toldTable holds what people were told, so that they aren't told twice. A
// ticket's own mark was for terminals alone.
const toldTable = `
ALTER TABLE tickets DROP COLUMN told;
CREATE TABLE told (
	notice TEXT PRIMARY KEY,                      -- allocator.Notice.Key
	ways   INTEGER NOT NULL,                      -- gpu.Way, added up
	over   INTEGER NOT NULL                       -- unix nanoseconds
) STRICT;`

// declaredTime is how long what a ticket is for lasts.
const declaredTime = `ALTER TABLE tickets ADD COLUMN lasts INTEGER NOT NULL DEFAULT 0; -- nanoseconds, 0: its owner doesn't say`

// Tickets returns every place in the queue, by the time it was taken and id.
func (s *Store) Tickets(ctx context.Context) ([]gpu.Ticket, error) {
	kept, err := s.kept(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.QueryContext(ctx, "SELECT id, uid, login, request, exact, claim, joined_at, until, lasts FROM tickets ORDER BY joined_at, id")
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []gpu.Ticket
	for rows.Next() {
		var t gpu.Ticket
		var request, exact []byte
		var joined, until int64
		if err := rows.Scan(&t.ID, &t.UID, &t.Login, &request, &exact, &t.Claim, &joined, &until, &t.Lasts); err != nil {
			return nil, fmt.Errorf("read tickets: %w", err)
		}
		if err := json.Unmarshal(request, &t.Request); err != nil {
			return nil, fmt.Errorf("read the request of ticket %s: %w", t.ID, err)
		}
		if err := json.Unmarshal(exact, &t.Exact); err != nil {
			return nil, fmt.Errorf("read the devices wanted by ticket %s: %w", t.ID, err)
		}
		t.JoinedAt, t.Until, t.Devices = fromNanos(joined), fromNanos(until), kept[t.ID]
		all = append(all, t)
	}
	return all, rows.Err()
}

// kept returns what is kept for each ticket.
func (s *Store) kept(ctx context.Context) (map[string][]gpu.Grant, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT ticket, uuid, slot, share FROM ticket_devices ORDER BY ticket, position")
	if err != nil {
		return nil, fmt.Errorf("read what is kept for tickets: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	all := map[string][]gpu.Grant{}
	for rows.Next() {
		var ticket string
		var g gpu.Grant
		var share int64
		if err := rows.Scan(&ticket, &g.UUID, &g.Slot, &share); err != nil {
			return nil, fmt.Errorf("read what is kept for tickets: %w", err)
		}
		g.Share = quantity.GPUShare(share)
		all[ticket] = append(all[ticket], g)
	}
	return all, rows.Err()
}

// SaveTicket writes one ticket with what is kept for it, new or changed, in
// one transaction. A device that a container holds, or that is kept for
// another ticket, is an error of kind problem.ErrConflict and nothing is
// written.
func (s *Store) SaveTicket(ctx context.Context, t gpu.Ticket) error {
	request, err := json.Marshal(t.Request)
	if err != nil {
		return fmt.Errorf("encode the request of ticket %s: %w", t.ID, err)
	}
	exact, err := json.Marshal(t.Exact)
	if err != nil {
		return fmt.Errorf("encode the devices wanted by ticket %s: %w", t.ID, err)
	}
	return s.within(ctx, "save ticket "+t.ID, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO tickets (id, uid, login, request, exact, claim, joined_at, until, lasts) VALUES (?,?,?,?,?,?,?,?,?)
			ON CONFLICT (id) DO UPDATE SET until=excluded.until`,
			t.ID, t.UID, t.Login, string(request), string(exact), t.Claim, nanos(t.JoinedAt), nanos(t.Until), int64(t.Lasts))
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM ticket_devices WHERE ticket = ?", t.ID)
		}
		for i, d := range t.Devices {
			if err == nil {
				_, err = tx.ExecContext(ctx, "INSERT INTO ticket_devices (ticket, position, uuid, slot, share) VALUES (?,?,?,?,?)",
					t.ID, i, d.UUID, d.Slot, int64(d.Share))
			}
		}
		return err
	})
}

// within does something in one transaction.
func (s *Store) within(ctx context.Context, what string, do func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing, after a failure that error is the one to tell
	if err := do(tx); err != nil {
		return fmt.Errorf("%s: %w", what, conflict(err))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// DeleteTicket removes a ticket and what is kept for it. Deleting what isn't
// there is no error.
func (s *Store) DeleteTicket(ctx context.Context, id string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM tickets WHERE id = ?", id); err != nil {
		return fmt.Errorf("delete ticket %s: %w", id, err)
	}
	return nil
}

// Redeem saves a record and removes the ticket that its devices were kept for,
// in one transaction.
func (s *Store) Redeem(ctx context.Context, c container.Record, ticket string) error {
	return s.save(ctx, c, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM tickets WHERE id = ?", ticket); err != nil {
			return fmt.Errorf("redeem ticket %s: %w", ticket, err)
		}
		return nil
	})
}

// Uses returns how long devices were held, of what ended after a moment, by
// their ends; what is older is forgotten.
func (s *Store) Uses(ctx context.Context, after time.Time) ([]gpu.Use, error) {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM uses WHERE ended <= ?", nanos(after)); err != nil {
		return nil, fmt.Errorf("forget old uses: %w", err)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT claim, began, ended, uid, share FROM uses ORDER BY ended, claim, began")
	if err != nil {
		return nil, fmt.Errorf("read uses: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []gpu.Use
	for rows.Next() {
		var u gpu.Use
		var from, until, share int64
		if err := rows.Scan(&u.Claim, &from, &until, &u.UID, &share); err != nil {
			return nil, fmt.Errorf("read uses: %w", err)
		}
		u.From, u.Until, u.Share = fromNanos(from), fromNanos(until), quantity.GPUShare(share)
		all = append(all, u)
	}
	return all, rows.Err()
}

// SaveUse writes one use. One of the same claim that began at the same time is
// the same use, whose end was told too early: a crash came between.
func (s *Store) SaveUse(ctx context.Context, u gpu.Use) error {
	_, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO uses (claim, began, ended, uid, share) VALUES (?,?,?,?,?)",
		u.Claim, nanos(u.From), nanos(u.Until), u.UID, int64(u.Share))
	if err != nil {
		return fmt.Errorf("save the use of claim %s: %w", u.Claim, err)
	}
	return nil
}

// Reservations returns those made by command, by their beginning and id.
func (s *Store) Reservations(ctx context.Context) ([]gpu.Reservation, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, uid, login, devices, began, ended, reason, source FROM reservations ORDER BY began, id")
	if err != nil {
		return nil, fmt.Errorf("read reservations: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []gpu.Reservation
	for rows.Next() {
		var r gpu.Reservation
		var devices []byte
		var from, until int64
		if err := rows.Scan(&r.ID, &r.UID, &r.Login, &devices, &from, &until, &r.Reason, &r.Source); err != nil {
			return nil, fmt.Errorf("read reservations: %w", err)
		}
		if err := json.Unmarshal(devices, &r.Devices); err != nil {
			return nil, fmt.Errorf("read the devices of reservation %s: %w", r.ID, err)
		}
		r.From, r.Until = fromNanos(from), fromNanos(until)
		all = append(all, r)
	}
	return all, rows.Err()
}

// SaveReservation writes one reservation.
func (s *Store) SaveReservation(ctx context.Context, r gpu.Reservation) error {
	devices, err := json.Marshal(r.Devices)
	if err != nil {
		return fmt.Errorf("encode the devices of reservation %s: %w", r.ID, err)
	}
	_, err = s.db.ExecContext(ctx, "INSERT INTO reservations (id, uid, login, devices, began, ended, reason, source) VALUES (?,?,?,?,?,?,?,?)",
		r.ID, r.UID, r.Login, string(devices), nanos(r.From), nanos(r.Until), r.Reason, r.Source)
	if err != nil {
		return fmt.Errorf("save reservation %s: %w", r.ID, conflict(err))
	}
	return nil
}

// DeleteReservation removes one. Deleting what isn't there is no error.
func (s *Store) DeleteReservation(ctx context.Context, id string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM reservations WHERE id = ?", id); err != nil {
		return fmt.Errorf("delete reservation %s: %w", id, err)
	}
	return nil
}

// Told returns what people were told that is news at now, by the notice; what
// is none any more is forgotten.
func (s *Store) Told(ctx context.Context, now time.Time) (map[string]gpu.Told, error) {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM told WHERE over <= ?", nanos(now)); err != nil {
		return nil, fmt.Errorf("forget what was told: %w", err)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT notice, ways, over FROM told")
	if err != nil {
		return nil, fmt.Errorf("read what was told: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	all := map[string]gpu.Told{}
	for rows.Next() {
		var notice string
		var t gpu.Told
		var over int64
		if err := rows.Scan(&notice, &t.Ways, &over); err != nil {
			return nil, fmt.Errorf("read what was told: %w", err)
		}
		t.Over = fromNanos(over)
		all[notice] = t
	}
	return all, rows.Err()
}

// SaveTold writes by which ways a notice was told.
func (s *Store) SaveTold(ctx context.Context, notice string, t gpu.Told) error {
	if _, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO told (notice, ways, over) VALUES (?,?,?)", notice, t.Ways, nanos(t.Over)); err != nil {
		return fmt.Errorf("save that %q was told: %w", notice, err)
	}
	return nil
}
