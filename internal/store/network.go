package store

import (
	"context"
	"fmt"
	"net/netip"

	"ds01.dev/ds01/internal/network"
)

// Networks returns every network's record, by its name at the engine.
func (s *Store) Networks(ctx context.Context) ([]network.Record, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT engine_name, uid, name, coalesce(engine_id,''), subnet, created_at FROM networks ORDER BY engine_name")
	if err != nil {
		return nil, fmt.Errorf("read networks: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []network.Record
	for rows.Next() {
		var n network.Record
		var subnet string
		var created int64
		if err := rows.Scan(&n.EngineName, &n.UID, &n.Name, &n.ID, &subnet, &created); err != nil {
			return nil, fmt.Errorf("read networks: %w", err)
		}
		if n.Subnet, err = netip.ParsePrefix(subnet); err != nil {
			return nil, fmt.Errorf("read network %s: %w", n.EngineName, err)
		}
		n.Default = n.EngineName == network.DefaultOf(n.UID)
		n.CreatedAt = fromNanos(created)
		all = append(all, n)
	}
	return all, rows.Err()
}

// SaveNetwork writes a network's record, new or changed. A subnet, or a name of
// the owner's, that another has already is an error of kind
// problem.ErrConflict.
func (s *Store) SaveNetwork(ctx context.Context, n network.Record) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO networks (engine_name, uid, name, engine_id, subnet, created_at) VALUES (?,?,?,nullif(?,''),?,?)
		ON CONFLICT (engine_name) DO UPDATE SET engine_id=excluded.engine_id`,
		n.EngineName, n.UID, n.Name, n.ID, n.Subnet.String(), nanos(n.CreatedAt))
	if err != nil {
		return fmt.Errorf("save network %s: %w", n.EngineName, conflict(err))
	}
	return nil
}

// DeleteNetwork removes a network's record; what isn't there is no error.
func (s *Store) DeleteNetwork(ctx context.Context, engineName string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM networks WHERE engine_name = ?", engineName); err != nil {
		return fmt.Errorf("delete network %s: %w", engineName, err)
	}
	return nil
}
