package store

import (
	"context"
	"encoding/json"
	"fmt"

	"ds01.dev/ds01/internal/container"
)

// imageTables are the schema of who owns which image. A name is a row by
// itself: an image may be shared under one of its owner's names and lent a
// registry's name for a push.
const imageTables = `
CREATE TABLE images (
	image TEXT NOT NULL,                          -- sha256:…
	uid   INTEGER NOT NULL,
	how   TEXT NOT NULL,                          -- commit, import, load
	since INTEGER NOT NULL,                       -- unix nanoseconds
	PRIMARY KEY (image, uid)
) STRICT;
CREATE TABLE image_names (
	name  TEXT PRIMARY KEY,                       -- as the engine writes it
	kind  TEXT NOT NULL,                          -- shared: others read it; lent: a push is under way
	image TEXT NOT NULL,                          -- what the row speaks of; void once the name has moved
	uid   INTEGER NOT NULL,                       -- who shared it, or pushes
	since INTEGER NOT NULL                        -- unix nanoseconds
) STRICT;`

// makingTable is the schema of images that are being made.
const makingTable = `
CREATE TABLE makings (
	id     TEXT PRIMARY KEY,                      -- in the image's mark at the engine
	uid    INTEGER NOT NULL,
	how    TEXT NOT NULL,                         -- commit, import, load
	wanted TEXT NOT NULL,                         -- JSON, [][]container.WantedName
	since  INTEGER NOT NULL                       -- unix nanoseconds
) STRICT;`

// Images returns who owns which image, by image and uid.
func (s *Store) Images(ctx context.Context) ([]container.ImageOwner, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT image, uid, how, since FROM images ORDER BY image, uid")
	if err != nil {
		return nil, fmt.Errorf("read images: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []container.ImageOwner
	for rows.Next() {
		var o container.ImageOwner
		var since int64
		if err := rows.Scan(&o.Image, &o.UID, &o.How, &since); err != nil {
			return nil, fmt.Errorf("read images: %w", err)
		}
		o.Since = fromNanos(since)
		all = append(all, o)
	}
	return all, rows.Err()
}

// OwnImage notes that somebody made an image. Noting it again changes nothing.
func (s *Store) OwnImage(ctx context.Context, o container.ImageOwner) error {
	_, err := s.db.ExecContext(ctx, "INSERT OR IGNORE INTO images (image, uid, how, since) VALUES (?,?,?,?)", o.Image, o.UID, o.How, nanos(o.Since))
	if err != nil {
		return fmt.Errorf("save the owner of image %s: %w", o.Image, err)
	}
	return nil
}

// DisownImage forgets an owner of an image. Forgetting what isn't known is no
// error.
func (s *Store) DisownImage(ctx context.Context, image string, uid int) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM images WHERE image = ? AND uid = ?", image, uid); err != nil {
		return fmt.Errorf("forget an owner of image %s: %w", image, err)
	}
	return nil
}

// ImageNames returns the names that are shared or lent, in order.
func (s *Store) ImageNames(ctx context.Context) ([]container.ImageName, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT name, kind, image, uid, since FROM image_names ORDER BY name")
	if err != nil {
		return nil, fmt.Errorf("read names of images: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []container.ImageName
	for rows.Next() {
		var n container.ImageName
		var since int64
		if err := rows.Scan(&n.Name, &n.Kind, &n.Image, &n.UID, &since); err != nil {
			return nil, fmt.Errorf("read names of images: %w", err)
		}
		n.Since = fromNanos(since)
		all = append(all, n)
	}
	return all, rows.Err()
}

// SaveImageName writes what a name is, in place of what it was.
func (s *Store) SaveImageName(ctx context.Context, n container.ImageName) error {
	_, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO image_names (name, kind, image, uid, since) VALUES (?,?,?,?,?)",
		n.Name, n.Kind, n.Image, n.UID, nanos(n.Since))
	if err != nil {
		return fmt.Errorf("save the name %s: %w", n.Name, err)
	}
	return nil
}

// DeleteImageName forgets a name. Forgetting what isn't known is no error.
func (s *Store) DeleteImageName(ctx context.Context, name string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM image_names WHERE name = ?", name); err != nil {
		return fmt.Errorf("forget the name %s: %w", name, err)
	}
	return nil
}

// Makings returns what is being made, by id.
func (s *Store) Makings(ctx context.Context) ([]container.Making, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, uid, how, wanted, since FROM makings ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("read images that are being made: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []container.Making
	for rows.Next() {
		var m container.Making
		var wanted []byte
		var since int64
		if err := rows.Scan(&m.ID, &m.UID, &m.How, &wanted, &since); err != nil {
			return nil, fmt.Errorf("read images that are being made: %w", err)
		}
		if err := json.Unmarshal(wanted, &m.Wanted); err != nil {
			return nil, fmt.Errorf("read the names of making %s: %w", m.ID, err)
		}
		m.Since = fromNanos(since)
		all = append(all, m)
	}
	return all, rows.Err()
}

// SaveMaking notes that images are about to be made.
func (s *Store) SaveMaking(ctx context.Context, m container.Making) error {
	wanted, err := json.Marshal(m.Wanted)
	if err != nil {
		return fmt.Errorf("encode the names of making %s: %w", m.ID, err)
	}
	_, err = s.db.ExecContext(ctx, "INSERT INTO makings (id, uid, how, wanted, since) VALUES (?,?,?,?,?)", m.ID, m.UID, m.How, string(wanted), nanos(m.Since))
	if err != nil {
		return fmt.Errorf("save making %s: %w", m.ID, err)
	}
	return nil
}

// DeleteMaking forgets a making. Forgetting what isn't known is no error.
func (s *Store) DeleteMaking(ctx context.Context, id string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM makings WHERE id = ?", id); err != nil {
		return fmt.Errorf("forget making %s: %w", id, err)
	}
	return nil
}
