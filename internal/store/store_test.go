package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/store"
)

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func file(t *testing.T) string { return filepath.Join(t.TempDir(), "ds01.db") }

func record(id string, devices ...string) container.Record {
	r := container.Record{
		Claim: gpu.Claim{
			ID: id, UID: 1001, Name: "web-" + id, State: gpu.Pending,
			CreatedAt: time.Date(2030, 5, 17, 12, 0, 0, 123, time.UTC),
		},
		Login: "alice", Image: "busybox", Interface: "docker",
	}
	for i, uuid := range devices {
		r.Devices = append(r.Devices, gpu.Grant{UUID: uuid, Slot: fmt.Sprint(i), Share: quantity.ShareOf(1, 7)})
	}
	return r
}

func full(devices ...string) container.Record {
	r := record("a", devices...)
	r.State, r.ContainerID, r.Waits, r.Interface = gpu.Held, "c-a", true, "orchestration"
	r.HeldUntil, r.Since = r.CreatedAt.Add(time.Hour), r.CreatedAt.Add(time.Second)
	r.Quota.HoldAfterStop = -1
	r.AtStart, r.Asked, r.Origin = true, "2x1g.10gb", "cron"
	r.Killed = &container.Kill{At: r.CreatedAt, Limit: container.LimitOwn, Bytes: 1 << 30, Process: "python3", Held: 5, Count: 2}
	r.Wishes = &container.Wishes{Memory: 1 << 30, NanoCPUs: 5e8, Pids: 7}
	r.Restart = container.Restart{
		Policy:  container.RestartPolicy{Name: container.RestartOnFailure, MaxRetries: 3},
		Stopped: true, Count: 2, Wait: time.Minute, Due: r.CreatedAt.Add(time.Minute), Problem: "no GPU",
	}
	r.Mounts = []container.Mount{
		{Source: "/home/alice/a, \"b\"\n", Target: "/workspace", HostPath: "/run/ds01/mnt/x/0", ReadOnly: true, ContainerUID: 1001, ContainerGID: 1001},
		{Source: "/home/alice/ü", Target: "/data", HostPath: "/run/ds01/mnt/x/1"},
	}
	return r
}

func save(t *testing.T, s *store.Store, records ...container.Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func wantRecords(t *testing.T, s *store.Store, want ...container.Record) {
	t.Helper()
	got, err := s.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestANewDatabaseIsEmpty(t *testing.T) { wantRecords(t, open(t, file(t))) }

func TestWhatWasSavedIsThereAfterReopening(t *testing.T) {
	path := file(t)
	s := open(t, path)
	one, two := full("GPU-1", "GPU-2"), record("b")
	save(t, s, one, two)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantRecords(t, open(t, path), one, two)
}

func TestEverythingThatChangesIsSaved(t *testing.T) {
	s := open(t, file(t))
	save(t, s, record("a", "GPU-1"))
	changed := full("GPU-2")
	changed.UID, changed.Login, changed.Name, changed.Image = 1002, "bob", "other", "alpine"
	save(t, s, changed)
	wantRecords(t, s, changed)
}

func TestTheDatabaseRefusesWhatMustNotBe(t *testing.T) {
	for name, second := range map[string]container.Record{
		"a device with two owners": record("b", "GPU-2", "GPU-1"),
		"a name that is taken":     func() container.Record { r := record("b"); r.Name = "web-a"; return r }(),
		"a container of two claims": func() container.Record {
			r := record("b")
			r.ContainerID = "c-a"
			return r
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, file(t))
			first := full("GPU-1")
			save(t, s, first)
			if err := s.Save(t.Context(), second); !errors.Is(err, problem.ErrConflict) {
				t.Fatalf("got %v", err)
			}
			wantRecords(t, s, first)
		})
	}
}

func TestTheSameNameOfAnotherOwnerIsNoConflict(t *testing.T) {
	s := open(t, file(t))
	first, second := record("a"), record("b")
	second.UID, second.Name = 1002, first.Name
	save(t, s, first, second)
	wantRecords(t, s, first, second)
}

func TestAReleasedClaimRemembersItsDevicesAndHoldsNone(t *testing.T) {
	s := open(t, file(t))
	first, second := full("GPU-1"), record("b", "GPU-1")
	first.State = gpu.Released
	save(t, s, first, second)
	wantRecords(t, s, first, second)
	first.State = gpu.Running
	if err := s.Save(t.Context(), first); !errors.Is(err, problem.ErrConflict) {
		t.Fatalf("the device has two owners: %v", err)
	}
	if err := s.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	save(t, s, first)
	wantRecords(t, s, first)
}

func TestDeletingWhatIsNotThereIsNoError(t *testing.T) {
	if err := open(t, file(t)).Delete(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

func TestOfManyWhoWantOneDeviceOneGetsIt(t *testing.T) {
	s := open(t, file(t))
	var group sync.WaitGroup
	results := make([]error, 32)
	for i := range results {
		group.Go(func() { results[i] = s.Save(t.Context(), record(fmt.Sprint(i), "GPU-1")) })
	}
	group.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, problem.ErrConflict) {
			t.Error(err)
		}
	}
	if all, err := s.Containers(t.Context()); won != 1 || err != nil || len(all) != 1 {
		t.Errorf("%d got it, %d are stored, %v", won, len(all), err)
	}
}

func TestAnAbandonedSaveWritesAllOrNothing(t *testing.T) {
	s := open(t, file(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Save(ctx, record("a", "GPU-1")); err == nil {
		t.Fatal("saved")
	}
	wantRecords(t, s)
	save(t, s, record("b", "GPU-1"))
}

// A damaged, foreign or newer file is refused as it is.
func TestADatabaseThatCannotBeUsedIsLeftAsItIs(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"text": func(t *testing.T, path string) { write(t, path, []byte(strings.Repeat("this is no database\n", 500))) },
		"a schema of the future": func(t *testing.T, path string) {
			made(t, path)
			execute(t, path, "PRAGMA user_version = 99")
		},
		"a page overwritten": func(t *testing.T, path string) {
			made(t, path)
			data := read(t, path)
			for i := 4096; i < len(data); i++ {
				data[i] = 0xAA
			}
			write(t, path, data)
		},
		"cut short": func(t *testing.T, path string) {
			made(t, path)
			data := read(t, path)
			write(t, path, data[:len(data)-5000])
		},
		"a folder": func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t)
			spoil(t, path)
			before, _ := os.ReadFile(path)
			_, err := store.Open(t.Context(), path)
			if !errors.Is(err, problem.ErrUnavailable) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v", err)
			}
			if after, _ := os.ReadFile(path); string(before) != string(after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestADatabaseOfTheFirstSchemaIsBroughtForward(t *testing.T) {
	path := file(t)
	s := open(t, path)
	old := full("GPU-1")
	old.Restart, old.Since, old.AtStart, old.Asked, old.Wishes, old.Killed, old.Origin = container.Restart{}, time.Time{}, false, "", nil, nil, ""
	save(t, s, old)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, path, "DROP TABLE lives; DROP TABLE exemptions; DROP TABLE beat; DROP TABLE drains; DROP TABLE faults; DROP TABLE told; DROP TABLE repartition; DROP TABLE build_cache; DROP TABLE makings; DROP TABLE image_names; DROP TABLE images; DROP TABLE ports; DROP TABLE port_slots; DROP TABLE volumes; DROP TABLE networks; DROP TABLE ticket_devices; DROP TABLE tickets; DROP TRIGGER kept_for_a_ticket; DROP TABLE uses; DROP TABLE reservations; ALTER TABLE containers DROP COLUMN origin; ALTER TABLE containers DROP COLUMN at_start; ALTER TABLE containers DROP COLUMN asked; ALTER TABLE containers DROP COLUMN rest; ALTER TABLE containers DROP COLUMN since; ALTER TABLE containers DROP COLUMN restart; PRAGMA user_version = 1")
	s = open(t, path)
	wantRecords(t, s, old)
	save(t, s, full("GPU-1"))
	wantRecords(t, s, full("GPU-1"))
}

func TestANewerSchemaIsToldFromDamage(t *testing.T) {
	path := file(t)
	made(t, path)
	execute(t, path, "PRAGMA user_version = 99")
	_, err := store.Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "newer ds01") || !strings.Contains(err.Error(), "99") {
		t.Errorf("got %v", err)
	}
}

func TestAPathMayHoldWhatAnAddressMayNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a?b=c#d%20e")
	save(t, open(t, path), record("a"))
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// made makes a database with one record and closes it.
func made(t *testing.T, path string) {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, full("GPU-1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
