package peer

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Hints are what the process says about itself. Nothing may be decided by
// them: it can have changed, or ended and left its number to another.
type Hints struct {
	Exe      string // the program it runs, "" where that can't be told
	LoginUID *int   // who had logged in, also behind sudo and su; nil: unknown
}

// Hints looks at the process now. Of one that has ended nothing is known.
func (p Peer) Hints() Hints {
	folder := folderOf(p.PID)
	var h Hints
	h.Exe, _ = os.Readlink(filepath.Join(folder, "exe")) // gone: unknown
	if text, err := short(folder + "/loginuid"); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32); err == nil && n != math.MaxUint32 {
			uid := int(n)
			h.LoginUID = &uid
		}
	}
	if now, err := statusOf(folder); err != nil || now.began != p.began {
		return Hints{} // what was read may be another's
	}
	return h
}
