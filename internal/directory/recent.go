package directory

import (
	"slices"
	"sync"
	"syscall"
	"time"

	"ds01.dev/ds01/internal/account"
)

// moment is how long an account is good for the next request: one command of a
// client is several, and a directory on the network is asked once for them.
const moment = time.Second

// Recent answers Lookup for a moment from what it found last, unless one of the
// host's own files of accounts has changed since. It is safe for concurrent use.
type Recent struct {
	lookup func(uid int) (account.Account, error)
	now    func() time.Time
	files  []string

	mu    sync.Mutex
	found map[int]finding
}

type finding struct {
	who   account.Account
	at    time.Time
	files []stamp
}

// NewRecent keeps for a moment what lookup finds, while the files are as they
// were.
func NewRecent(lookup func(uid int) (account.Account, error), now func() time.Time, files ...string) *Recent {
	return &Recent{lookup: lookup, now: now, files: files, found: map[int]finding{}}
}

// Files are those from which the host itself knows accounts.
func Files() []string { return []string{"/etc/passwd", "/etc/group", "/etc/nsswitch.conf"} }

// Lookup returns what lookup does, or did a moment ago. Only success is kept.
// The account is shared: don't change it.
func (r *Recent) Lookup(uid int) (account.Account, error) {
	now, files := r.now(), stampsOf(r.files)
	r.mu.Lock()
	last, known := r.found[uid]
	r.mu.Unlock()
	if known && now.Sub(last.at) < moment && slices.Equal(last.files, files) {
		return last.who, nil
	}
	who, err := r.lookup(uid)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		delete(r.found, uid)
		return who, err
	}
	for old, f := range r.found {
		if now.Sub(f.at) >= moment {
			delete(r.found, old)
		}
	}
	r.found[uid] = finding{who, now, files}
	return who, nil
}

// A stamp tells whether a file is as it was.
type stamp struct {
	inode             uint64
	size              int64
	modified, changed syscall.Timespec
}

func stampsOf(files []string) []stamp {
	all := make([]stamp, len(files))
	for i, name := range files {
		var st syscall.Stat_t
		if syscall.Stat(name, &st) == nil { // else it stays the same as long as it isn't there
			all[i] = stamp{st.Ino, st.Size, st.Mtim, st.Ctim}
		}
	}
	return all
}
