package store

import (
	"context"
	"fmt"

	"ds01.dev/ds01/internal/gpu"
)

// healthTables hold which cards aren't to be granted.
const healthTables = `
CREATE TABLE drains (
	card    TEXT PRIMARY KEY,                     -- UUID
	reason  TEXT NOT NULL,
	by_whom TEXT NOT NULL,                        -- login
	since   INTEGER NOT NULL                      -- unix nanoseconds
) STRICT;`

// Drains returns the cards that administrators keep from being granted, by
// UUID.
func (s *Store) Drains(ctx context.Context) ([]gpu.Drain, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT card, reason, by_whom, since FROM drains ORDER BY card")
	if err != nil {
		return nil, fmt.Errorf("read drains: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []gpu.Drain
	for rows.Next() {
		var d gpu.Drain
		var since int64
		if err := rows.Scan(&d.Card, &d.Reason, &d.By, &since); err != nil {
			return nil, fmt.Errorf("read drains: %w", err)
		}
		d.Since = fromNanos(since)
		all = append(all, d)
	}
	return all, rows.Err()
}

// SaveDrain writes one; another of the same card is replaced.
func (s *Store) SaveDrain(ctx context.Context, d gpu.Drain) error {
	_, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO drains (card, reason, by_whom, since) VALUES (?,?,?,?)",
		d.Card, d.Reason, d.By, nanos(d.Since))
	if err != nil {
		return fmt.Errorf("save the drain of card %s: %w", d.Card, err)
	}
	return nil
}

// DeleteDrain removes one. Deleting what isn't there is no error.
func (s *Store) DeleteDrain(ctx context.Context, card string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM drains WHERE card = ?", card); err != nil {
		return fmt.Errorf("delete the drain of card %s: %w", card, err)
	}
	return nil
}
