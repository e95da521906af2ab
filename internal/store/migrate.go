package store

import (
	"context"
	"fmt"
)

// migrations are applied in order and never changed once released: the next
// schema is a new entry at the end. The number applied is in user_version.
func migrations() []string {
	return []string{
		`
CREATE TABLE containers (
	id              TEXT PRIMARY KEY,             -- claim id, in the container's label
	uid             INTEGER NOT NULL,
	login           TEXT NOT NULL,
	name            TEXT NOT NULL,
	state           TEXT NOT NULL,                -- gpu.State
	container_id    TEXT UNIQUE,                  -- NULL while pending
	held_until      INTEGER NOT NULL,             -- unix nanoseconds, 0: no end
	created_at      INTEGER NOT NULL,             -- unix nanoseconds
	image           TEXT NOT NULL,
	interface       TEXT NOT NULL,
	waits           INTEGER NOT NULL,
	hold_after_stop INTEGER NOT NULL,             -- nanoseconds, negative: no end
	mounts          TEXT NOT NULL,                -- JSON, container.Mount
	UNIQUE (uid, name)
) STRICT;
CREATE TABLE devices (
	claim    TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
	position INTEGER NOT NULL,
	uuid     TEXT NOT NULL,
	slot     TEXT NOT NULL,
	share    INTEGER NOT NULL,                    -- 1/840 of a GPU
	held     INTEGER NOT NULL,
	PRIMARY KEY (claim, position)
) STRICT;
CREATE UNIQUE INDEX one_owner ON devices (uuid) WHERE held = 1;`,
		// JSON, container.Restart
		`ALTER TABLE containers ADD COLUMN restart TEXT NOT NULL DEFAULT '{}'`, `
CREATE TABLE ports (
	claim     TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
	position  INTEGER NOT NULL,
	address   TEXT NOT NULL,
	protocol  TEXT NOT NULL,
	host      INTEGER NOT NULL,
	container INTEGER NOT NULL,
	PRIMARY KEY (claim, position),
	UNIQUE (protocol, host)
) STRICT;
CREATE TABLE port_slots (
	uid  INTEGER PRIMARY KEY,
	slot INTEGER NOT NULL UNIQUE                  -- place of the person's range in ports.range
) STRICT;
CREATE TABLE volumes (
	engine_name TEXT PRIMARY KEY,
	uid         INTEGER NOT NULL,
	name        TEXT NOT NULL,
	anonymous   INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,                 -- unix nanoseconds
	UNIQUE (uid, name)
) STRICT;
CREATE TABLE networks (
	engine_name TEXT PRIMARY KEY,
	uid         INTEGER NOT NULL,
	name        TEXT NOT NULL,
	engine_id   TEXT UNIQUE,                      -- NULL while it is being made
	subnet      TEXT NOT NULL UNIQUE,
	created_at  INTEGER NOT NULL,                 -- unix nanoseconds
	UNIQUE (uid, name)
) STRICT;`,
		imageTables, makingTable,
		// of those that are there already nobody knows
		`ALTER TABLE volumes ADD COLUMN used INTEGER NOT NULL DEFAULT 1`,
		cacheTable,
		queueTables,
		repartitionTable,
		toldTable,
		healthTables,
		attachColumns,
		lifeTables,
		// what of a container nothing is looked up by, as JSON
		`ALTER TABLE containers ADD COLUMN rest TEXT NOT NULL DEFAULT '{}'`,
		// label.Terminal, …; of those that are there already nobody knows
		`ALTER TABLE containers ADD COLUMN origin TEXT NOT NULL DEFAULT ''`,
		declaredTime,
	}
}

// attachColumns say what a container asks for when it is started again, and
// that its devices come to it then. Those that are there already have them for
// good.
const attachColumns = `
ALTER TABLE containers ADD COLUMN at_start INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN asked TEXT NOT NULL DEFAULT '';    -- gpu.ParseRequest`

// migrate brings the schema forward, never back.
func (s *Store) migrate(ctx context.Context) error {
	var version int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	steps := migrations()
	if version > len(steps) {
		return fmt.Errorf("its schema is version %d, this ds01 knows %d: it was written by a newer ds01", version, len(steps))
	}
	for i := version; i < len(steps); i++ {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("%s; PRAGMA user_version = %d;", steps[i], i+1)); err != nil {
			return fmt.Errorf("migration %d: %w", i+1, joinRollback(err, tx.Rollback()))
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("migration %d: %w", i+1, err)
		}
	}
	// A read-only file opens; find out now, not at the first claim.
	_, err := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(steps)))
	return err
}

func joinRollback(err, rollback error) error {
	if rollback != nil {
		return fmt.Errorf("%w (and the rollback failed: %w)", err, rollback)
	}
	return err
}
