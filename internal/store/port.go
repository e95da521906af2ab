package store

import (
	"context"
	"database/sql"
	"fmt"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/port"
)

// ports returns the published ports by claim.
func (s *Store) ports(ctx context.Context) (map[string][]port.Port, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT claim, address, protocol, host, container FROM ports ORDER BY claim, position")
	if err != nil {
		return nil, fmt.Errorf("read ports: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	all := map[string][]port.Port{}
	for rows.Next() {
		var claim string
		var p port.Port
		if err := rows.Scan(&claim, &p.Address, &p.Protocol, &p.Host, &p.Container); err != nil {
			return nil, fmt.Errorf("read ports: %w", err)
		}
		all[claim] = append(all[claim], p)
	}
	return all, rows.Err()
}

// savePorts writes the ports of a record, which never change: they are fixed
// when the container is made.
func savePorts(ctx context.Context, tx *sql.Tx, c container.Record) error {
	for i, p := range c.Ports {
		_, err := tx.ExecContext(ctx, `INSERT INTO ports (claim, position, address, protocol, host, container) VALUES (?,?,?,?,?,?)
			ON CONFLICT (claim, position) DO NOTHING`, c.ID, i, p.Address, p.Protocol, p.Host, p.Container)
		if err != nil {
			return fmt.Errorf("save port %d/%s of claim %s: %w", p.Host, p.Protocol, c.ID, conflict(err))
		}
	}
	return nil
}

// PortSlots returns the place of each person's range of ports, by uid.
func (s *Store) PortSlots(ctx context.Context) (map[int]int, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT uid, slot FROM port_slots")
	if err != nil {
		return nil, fmt.Errorf("read ranges of ports: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	all := map[int]int{}
	for rows.Next() {
		var uid, slot int
		if err := rows.Scan(&uid, &slot); err != nil {
			return nil, fmt.Errorf("read ranges of ports: %w", err)
		}
		all[uid] = slot
	}
	return all, rows.Err()
}

// SavePortSlot gives a person a place. One that another has, and a second one,
// is an error of kind problem.ErrConflict.
func (s *Store) SavePortSlot(ctx context.Context, uid, slot int) error {
	if _, err := s.db.ExecContext(ctx, "INSERT INTO port_slots (uid, slot) VALUES (?,?)", uid, slot); err != nil {
		return fmt.Errorf("save the range of ports of uid %d: %w", uid, conflict(err))
	}
	return nil
}
