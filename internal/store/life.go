package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ds01.dev/ds01/internal/lifecycle"
)

// lifeTables hold what is remembered of containers' time, who is exempt from its
// rules, and what the clocks said when that was last written.
const lifeTables = `
CREATE TABLE lives (
	claim TEXT PRIMARY KEY REFERENCES containers(id) ON DELETE CASCADE,
	life  TEXT NOT NULL                           -- JSON, lifecycle.Life
) STRICT;
CREATE TABLE exemptions (
	login   TEXT PRIMARY KEY,
	causes  TEXT NOT NULL,                        -- lifecycle.Cause, with spaces between
	reason  TEXT NOT NULL,
	by_whom TEXT NOT NULL,                        -- login
	made    INTEGER NOT NULL,                     -- unix nanoseconds
	until   INTEGER NOT NULL                      -- unix nanoseconds, 0: for good
) STRICT;
CREATE TABLE beat (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	beat TEXT NOT NULL                            -- JSON, lifecycle.Beat
) STRICT;`

// Lives returns what is remembered of containers' time, by claim.
func (s *Store) Lives(ctx context.Context) (map[string]lifecycle.Life, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT claim, life FROM lives")
	if err != nil {
		return nil, fmt.Errorf("read lives: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	all := map[string]lifecycle.Life{}
	for rows.Next() {
		var claim, text string
		var l lifecycle.Life
		if err := rows.Scan(&claim, &text); err != nil {
			return nil, fmt.Errorf("read lives: %w", err)
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return nil, fmt.Errorf("read the life of claim %s: %w", claim, err)
		}
		all[claim] = l
	}
	return all, rows.Err()
}

// SaveLives writes some of them, with what the clocks say. Those of containers
// that aren't there any more are left out.
func (s *Store) SaveLives(ctx context.Context, lives map[string]lifecycle.Life, now lifecycle.Beat) error {
	beat, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("save lives: %w", err)
	}
	return s.within(ctx, "save lives", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO beat (one, beat) VALUES (1, ?)", string(beat)); err != nil {
			return err
		}
		for claim, l := range lives {
			text, err := json.Marshal(l)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO lives (claim, life) SELECT id, ? FROM containers WHERE id = ?", string(text), claim)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Beat returns what the clocks said when lives were last saved; zero before.
func (s *Store) Beat(ctx context.Context) (b lifecycle.Beat, err error) {
	var text string
	err = s.db.QueryRowContext(ctx, "SELECT beat FROM beat").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &b)
	}
	if err != nil {
		return b, fmt.Errorf("read the last beat: %w", err)
	}
	return b, nil
}

// Exemptions returns who is exempt from what, by login.
func (s *Store) Exemptions(ctx context.Context) ([]lifecycle.Exemption, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT login, causes, reason, by_whom, made, until FROM exemptions ORDER BY login")
	if err != nil {
		return nil, fmt.Errorf("read exemptions: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []lifecycle.Exemption
	for rows.Next() {
		var e lifecycle.Exemption
		var causes string
		var made, until int64
		if err := rows.Scan(&e.Login, &causes, &e.Reason, &e.By, &made, &until); err != nil {
			return nil, fmt.Errorf("read exemptions: %w", err)
		}
		for c := range strings.FieldsSeq(causes) {
			e.From = append(e.From, lifecycle.Cause(c))
		}
		e.Made, e.Until = fromNanos(made), fromNanos(until)
		all = append(all, e)
	}
	return all, rows.Err()
}

// SaveExemption writes one; another of the same person is replaced.
func (s *Store) SaveExemption(ctx context.Context, e lifecycle.Exemption) error {
	causes := make([]string, len(e.From))
	for i, c := range e.From {
		causes[i] = string(c)
	}
	_, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO exemptions (login, causes, reason, by_whom, made, until) VALUES (?,?,?,?,?,?)",
		e.Login, strings.Join(causes, " "), e.Reason, e.By, nanos(e.Made), nanos(e.Until))
	if err != nil {
		return fmt.Errorf("save the exemption of %s: %w", e.Login, err)
	}
	return nil
}

// DeleteExemption removes one. Deleting what isn't there is no error.
func (s *Store) DeleteExemption(ctx context.Context, login string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM exemptions WHERE login = ?", login); err != nil {
		return fmt.Errorf("delete the exemption of %s: %w", login, err)
	}
	return nil
}
