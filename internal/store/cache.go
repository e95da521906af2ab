package store

import (
	"context"
	"fmt"
)

// cacheTable is the schema of who may have made what BuildKit keeps and names
// nobody by.
const cacheTable = `
CREATE TABLE build_cache (
	record TEXT NOT NULL,                         -- BuildKit's id
	uid    INTEGER NOT NULL,
	PRIMARY KEY (record, uid)
) STRICT;`

// CacheOwners returns who may have made which record of BuildKit's cache, in
// order of their numbers.
func (s *Store) CacheOwners(ctx context.Context) (map[string][]int, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT record, uid FROM build_cache ORDER BY record, uid")
	if err != nil {
		return nil, fmt.Errorf("read the build cache: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	all := map[string][]int{}
	for rows.Next() {
		var record string
		var uid int
		if err := rows.Scan(&record, &uid); err != nil {
			return nil, fmt.Errorf("read the build cache: %w", err)
		}
		all[record] = append(all[record], uid)
	}
	return all, rows.Err()
}

// OwnCache notes that somebody may have made a record. Noting it again changes
// nothing.
func (s *Store) OwnCache(ctx context.Context, record string, uid int) error {
	if _, err := s.db.ExecContext(ctx, "INSERT OR IGNORE INTO build_cache (record, uid) VALUES (?,?)", record, uid); err != nil {
		return fmt.Errorf("save an owner of the build cache: %w", err)
	}
	return nil
}

// ForgetCache forgets a record that is gone. Forgetting what isn't known is no
// error.
func (s *Store) ForgetCache(ctx context.Context, record string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM build_cache WHERE record = ?", record); err != nil {
		return fmt.Errorf("forget a record of the build cache: %w", err)
	}
	return nil
}
