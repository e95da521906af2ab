package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// A note remembers how a card was while it is tried, over the end of whoever
// tries it; it is locked so long. Empty, nothing has to be taken back.
type note struct{ file *os.File }

func openNote(path string) (*note, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // below the daemon's own folder
	if err != nil {
		return nil, fmt.Errorf("note how the card is: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(&problem.Error{
			What: "card not verified", Why: problem.Because(problem.ErrConflict, path+" is locked: it is being verified"), Next: "Wait until that is over.",
		}, file.Close())
	}
	return &note{file}, nil
}

func (n *note) close() { _ = n.file.Close() } // what was written is synced

// read returns the card of a run that was cut short, if there was one.
func (n *note) read() (card apitype.MIGCard, found bool, err error) {
	text, err := io.ReadAll(n.file)
	if err != nil || len(text) == 0 {
		return card, false, err
	}
	if err := json.Unmarshal(text, &card); err != nil {
		return card, false, fmt.Errorf("read %s, which an earlier run left: %w", n.file.Name(), err)
	}
	return card, true, nil
}

// write is done before the card is touched.
func (n *note) write(card apitype.MIGCard) error {
	text, err := json.Marshal(card)
	if err != nil {
		return err
	}
	if _, err := n.file.WriteAt(text, 0); err != nil {
		return err
	}
	return n.file.Sync()
}

func (n *note) clear() error { return errors.Join(n.file.Truncate(0), n.file.Sync()) }
