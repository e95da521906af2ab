package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A Witness is a container that must run on, whatever happens.
type Witness struct {
	ID    string
	PID   int
	since string
}

// PlaceWitness starts a container with a device and a mount.
func PlaceWitness(t *testing.T, l *Lab, who string) Witness {
	t.Helper()
	id := l.OK(who, "docker", "run", "-d", "--name", "witness", "--gpus", "1", "-v", l.Home(who)+":/home/me", "busybox",
		"sh", "-c", "while :; do echo alive > /home/me/alive; sleep 1; done")
	return Witness{ID: id}.Look(t, l)
}

// Look returns the witness as the engine shows it now. Two looks are equal if
// it is the same process.
func (w Witness) Look(t *testing.T, l *Lab) Witness {
	t.Helper()
	all := l.EngineContainers()
	i := slices.IndexFunc(all, func(c Container) bool { return c.ID == w.ID })
	if i < 0 || !all[i].State.Running {
		t.Fatalf("the witness doesn't run (found: %v)", i >= 0)
	}
	return Witness{w.ID, all[i].State.Pid, all[i].State.StartedAt}
}

// Unharmed checks that the witness is the same process as ever and still
// writes to the home of eve, who owns it.
func (w Witness) Unharmed(t *testing.T, l *Lab) {
	t.Helper()
	if now := w.Look(t, l); now != w {
		t.Fatalf("the witness was %+v and is %+v", w, now)
	}
	alive := filepath.Join(l.Home("eve"), "alive")
	if err := os.Remove(alive); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	l.Eventually("the witness writes to its owner's home", 30*time.Second, func() bool {
		_, err := os.Stat(alive)
		return err == nil
	})
}
