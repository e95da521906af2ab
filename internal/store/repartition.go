package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"ds01.dev/ds01/internal/gpu"
)

// repartitionTable holds what is left to do of the one plan that is being
// carried out on the cards.
const repartitionTable = `
CREATE TABLE repartition (
	one   INTEGER PRIMARY KEY CHECK (one = 1),
	began INTEGER NOT NULL,                       -- unix nanoseconds
	why   TEXT NOT NULL,
	steps TEXT NOT NULL                           -- JSON, gpu.Step
) STRICT;`

// Repartition returns what SaveRepartition wrote last.
func (s *Store) Repartition(ctx context.Context) (w gpu.Work, err error) {
	var steps []byte
	var began int64
	err = s.db.QueryRowContext(ctx, "SELECT began, why, steps FROM repartition").Scan(&began, &w.Why, &steps)
	if errors.Is(err, sql.ErrNoRows) {
		return gpu.Work{}, nil
	}
	if err == nil {
		err = json.Unmarshal(steps, &w.Steps)
	}
	if err != nil {
		return gpu.Work{}, fmt.Errorf("read what is being done to the cards: %w", err)
	}
	w.Began = fromNanos(began)
	return w, nil
}

// SaveRepartition writes what is left to do to the cards, in place of what was
// written before; nothing left is nothing written.
func (s *Store) SaveRepartition(ctx context.Context, w gpu.Work) error {
	if len(w.Steps) == 0 {
		if _, err := s.db.ExecContext(ctx, "DELETE FROM repartition"); err != nil {
			return fmt.Errorf("forget what was done to the cards: %w", err)
		}
		return nil
	}
	steps, err := json.Marshal(w.Steps)
	if err == nil {
		_, err = s.db.ExecContext(ctx, "INSERT OR REPLACE INTO repartition (one, began, why, steps) VALUES (1,?,?,?)", nanos(w.Began), w.Why, string(steps))
	}
	if err != nil {
		return fmt.Errorf("save what is to be done to the cards: %w", err)
	}
	return nil
}
