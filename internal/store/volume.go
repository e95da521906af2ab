package store

import (
	"context"
	"fmt"

	"ds01.dev/ds01/internal/volume"
)

// Volumes returns every volume's record, by its name at the engine.
func (s *Store) Volumes(ctx context.Context) ([]volume.Record, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT engine_name, uid, name, anonymous, used, created_at FROM volumes ORDER BY engine_name")
	if err != nil {
		return nil, fmt.Errorf("read volumes: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []volume.Record
	for rows.Next() {
		var v volume.Record
		var created int64
		if err := rows.Scan(&v.EngineName, &v.UID, &v.Name, &v.Anonymous, &v.Used, &created); err != nil {
			return nil, fmt.Errorf("read volumes: %w", err)
		}
		v.CreatedAt = fromNanos(created)
		all = append(all, v)
	}
	return all, rows.Err()
}

// SaveVolume writes a new volume's record. One that somebody has, and a name
// its owner has already, is an error of kind problem.ErrConflict.
func (s *Store) SaveVolume(ctx context.Context, v volume.Record) error {
	_, err := s.db.ExecContext(ctx, "INSERT INTO volumes (engine_name, uid, name, anonymous, used, created_at) VALUES (?,?,?,?,?,?)",
		v.EngineName, v.UID, v.Name, v.Anonymous, v.Used, nanos(v.CreatedAt))
	if err != nil {
		return fmt.Errorf("save volume %s: %w", v.EngineName, conflict(err))
	}
	return nil
}

// MarkVolume writes whether a volume was used. One that isn't there is no error.
func (s *Store) MarkVolume(ctx context.Context, engineName string, used bool) error {
	if _, err := s.db.ExecContext(ctx, "UPDATE volumes SET used = ? WHERE engine_name = ?", used, engineName); err != nil {
		return fmt.Errorf("mark volume %s: %w", engineName, err)
	}
	return nil
}

// DeleteVolume removes a volume's record; what isn't there is no error.
func (s *Store) DeleteVolume(ctx context.Context, engineName string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM volumes WHERE engine_name = ?", engineName); err != nil {
		return fmt.Errorf("delete volume %s: %w", engineName, err)
	}
	return nil
}
