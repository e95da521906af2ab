package store

import (
	"context"
	"fmt"

	"ds01.dev/ds01/internal/gpu"
)

// healthTables hold which cards aren't to be granted, by whom, and which errors
// they had.
const healthTables = `
CREATE TABLE drains (
	card    TEXT PRIMARY KEY,                     -- UUID
	reason  TEXT NOT NULL,
	by_whom TEXT NOT NULL,                        -- login
	since   INTEGER NOT NULL                      -- unix nanoseconds
) STRICT;
CREATE TABLE faults (
	device    TEXT NOT NULL,                      -- UUID of a card or an instance
	xid       INTEGER NOT NULL,
	card      TEXT NOT NULL,                      -- UUID
	at        INTEGER NOT NULL,                   -- unix nanoseconds
	boot      TEXT NOT NULL,                      -- the host's, as the kernel names it
	confirmed INTEGER NOT NULL,
	PRIMARY KEY (device, xid)
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

// Faults returns what errors devices had, the oldest first.
func (s *Store) Faults(ctx context.Context) ([]gpu.Record, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT device, xid, card, at, boot, confirmed FROM faults ORDER BY at, device, xid")
	if err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []gpu.Record
	for rows.Next() {
		var f gpu.Record
		var at int64
		if err := rows.Scan(&f.Device, &f.XID, &f.Card, &at, &f.Boot, &f.Confirmed); err != nil {
			return nil, fmt.Errorf("read faults: %w", err)
		}
		f.At = fromNanos(at)
		all = append(all, f)
	}
	return all, rows.Err()
}

// SaveFault writes one; another of the same device and number is replaced.
func (s *Store) SaveFault(ctx context.Context, f gpu.Record) error {
	_, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO faults (device, xid, card, at, boot, confirmed) VALUES (?,?,?,?,?,?)",
		f.Device, f.XID, f.Card, nanos(f.At), f.Boot, f.Confirmed)
	if err != nil {
		return fmt.Errorf("save XID %d of %s: %w", f.XID, f.Device, err)
	}
	return nil
}

// DeleteFault removes one. Deleting what isn't there is no error.
func (s *Store) DeleteFault(ctx context.Context, f gpu.Fault) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM faults WHERE device = ? AND xid = ?", f.Device, f.XID); err != nil {
		return fmt.Errorf("delete XID %d of %s: %w", f.XID, f.Device, err)
	}
	return nil
}
