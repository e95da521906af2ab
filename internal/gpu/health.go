package gpu

import (
	"fmt"
	"strings"
	"time"
)

// A Remedy is what makes a card well again.
type Remedy int

// Remedies, the lesser first. The zero value means that nothing is known.
const (
	RemedyUnknown Remedy = iota
	RemedyNone           // the card is well
	RemedyReset          // a reset of the card
	RemedyReboot         // a reboot of the host
	RemedyReplace        // NVIDIA's diagnostics, and another card if they say so
)

// Health is what a driver tells of a card's state, each time it is asked. Its
// zero value is a card of which nothing bad is known.
type Health struct {
	Uncorrectable int64  // memory errors that couldn't be corrected, since the driver was loaded or the card was reset
	RemapPending  bool   // rows of its memory are replaced with the next reset
	RemapFailed   bool   // there is nothing left to replace a row with
	RetirePending bool   // pages of its memory are retired with the next reset: cards before Ampere
	Remedy        Remedy // what the driver itself says must be done; drivers since 570 do
}

// Judge says why a card in this state isn't granted, "" for a healthy one, and
// what an administrator does about it. index is the card's.
//
// NVIDIA's guides "GPU Memory Error Management" and "Dynamic Page Retirement"
// say what the states mean. ds01 is stricter than they are: a card on which
// errors were contained could go on until it is reset by and by.
func (h Health) Judge(index int) (why, mend string) {
	switch {
	case h.RemapFailed:
		return "a bad row of its memory can't be replaced any more", RemedyReplace.mend(index)
	case h.Remedy > RemedyNone:
		return "the driver says that it needs " + h.Remedy.String(), h.Remedy.mend(index)
	case h.RemapPending:
		return "bad rows of its memory wait to be replaced, which a reset does", RemedyReset.mend(index)
	case h.RetirePending:
		return "bad pages of its memory wait to be retired, which a reset does", RemedyReset.mend(index)
	case h.Uncorrectable > 0:
		return fmt.Sprintf("its memory had %d errors that couldn't be corrected", h.Uncorrectable), RemedyReset.mend(index)
	}
	return "", ""
}

// Lost is what is said of a card that doesn't answer, with the driver's words.
func Lost(index int, answer string) (why, mend string) {
	return "the card doesn't answer (" + answer + ")", RemedyReboot.mend(index)
}

// String is what is needed, in words.
func (r Remedy) String() string {
	switch r {
	case RemedyReset:
		return "a reset"
	case RemedyReboot:
		return "a reboot of the host"
	case RemedyReplace:
		return "to be replaced"
	default:
		return "nothing"
	}
}

// mend says what an administrator does. That nothing may watch a card which is
// reset is in the manual of nvidia-smi.
func (r Remedy) mend(index int) string {
	switch r {
	case RemedyReset:
		return fmt.Sprintf("Reset it when nothing runs there: 'systemctl stop ds01' (whatever watches a card keeps it from being reset; containers run on), "+
			"'nvidia-smi --gpu-reset -i %d', 'systemctl start ds01'; or reboot.", index)
	case RemedyReboot:
		return "Reboot the host; with the power off for a while, if that isn't enough. If it comes again, have the card and its slot checked (RMA)."
	default:
		return "Run NVIDIA's field diagnostics and have the card replaced (RMA)."
	}
}

// A Fault is an error that a driver told of once.
type Fault struct {
	Card   string // UUID of the card
	Device string // UUID of the instance that it is of, where the driver can tell, else of the card
	XID    int
}

// A Record is a fault as it is remembered, because the driver forgets it.
type Record struct {
	Fault
	At   time.Time
	Boot string // of the host: what that cleared is another boot's
	// Confirmed tells that the driver said afterwards that the card needs
	// something: once it says that it needs nothing, that was done.
	Confirmed bool
}

// xid is what one of NVIDIA's error numbers means for whether a device is
// granted.
type xid struct {
	name   string
	remedy Remedy // RemedyNone: it is about a program, or needs nothing
	whole  bool   // it is the whole card's, whichever instance it came up on
}

// xids is from NVIDIA's catalog (https://docs.nvidia.com/deploy/xid-errors/):
// what it sends to "restart the application" or to nothing has RemedyNone. What
// isn't here may be anything, and keeps the card from being granted too.
// Whoever adds a remedy makes sure that no program can bring the error about,
// or anybody could put every card out of use.
func xids(number int) (x xid, known bool) {
	program := func(name string) (xid, bool) { return xid{name, RemedyNone, false}, true }
	switch number {
	case 8:
		return program("the card stopped processing for a program")
	case 11, 32, 80:
		return program("a program sent it a bad stream of commands")
	case 13:
		return program("a program made an illegal access or instruction")
	case 24, 25, 69:
		return program("a program's command is invalid")
	case 31, 137:
		return program("a program used memory that isn't its")
	case 37, 66, 67:
		return program("the driver refused a program's request")
	case 38:
		return program("the driver's firmware failed a program")
	case 39, 40, 41, 70, 71, 72, 75, 76, 77, 83, 84, 85:
		return program("a copy engine failed a program")
	case 42, 60, 65, 68, 82, 86, 88, 89, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105:
		return program("a video or image unit failed a program")
	case 43:
		return program("a program hit an error of its own, and was ended")
	case 44, 109:
		return program("a switch between programs failed one of them")
	case 45:
		return program("a program was ended or ended itself")
	case 63:
		return program("a bad row or page of memory was noted to be replaced") // Health says when that waits
	case 92, 121:
		return program("many errors, all corrected")
	case 94:
		return program("memory had an error that one program was ended for") // the memory's own state is in Health
	case 154:
		return program("what it needs to recover has changed") // Health says what
	case 46:
		return xid{"the card stopped processing", RemedyReset, false}, true
	case 48, 140:
		return xid{"memory had an error that can't be corrected", RemedyReset, false}, true
	case 54:
		return xid{"its power cable isn't connected", RemedyReplace, true}, true
	case 61, 62:
		return xid{"its microcontroller halted", RemedyReset, true}, true
	case 64:
		return xid{"a bad row or page of memory couldn't be noted to be replaced", RemedyReset, true}, true
	case 74, 136:
		return xid{"NVLink failed", RemedyReset, true}, true
	case 79:
		return xid{"the card has fallen off the bus", RemedyReboot, true}, true
	case 95:
		return xid{"memory had an error that may have reached any program", RemedyReset, true}, true
	case 119, 120:
		return xid{"its firmware doesn't answer or failed (GSP)", RemedyReset, true}, true
	case 143:
		return xid{"the card couldn't be started", RemedyReset, true}, true
	}
	return xid{}, false
}

// Harmless reports whether a fault says nothing of the device: a program's own
// error, or one that needs nothing.
func (f Fault) Harmless() bool {
	x, _ := xids(f.XID)
	return x.remedy == RemedyNone
}

// Placed returns the fault as one of the whole card where its number says that
// it is.
func (f Fault) Placed() Fault {
	if x, known := xids(f.XID); !known || x.whole {
		f.Device = f.Card
	}
	return f
}

// String says what happened, "XID 79: the card has fallen off the bus".
func (f Fault) String() string {
	if x, known := xids(f.XID); known {
		return fmt.Sprintf("XID %d: %s", f.XID, x.name)
	}
	return fmt.Sprintf("XID %d, of which ds01 doesn't know what it means", f.XID)
}

// mend says what an administrator does.
func (f Fault) mend(index int) string {
	x, known := xids(f.XID)
	next := fmt.Sprintf(" Then: 'ds01 gpu undrain %d'; a reboot needs no undrain.", index)
	if !known {
		return fmt.Sprintf("Look XID %d up in NVIDIA's catalog, docs.nvidia.com/deploy/xid-errors.", f.XID) + next
	}
	return x.remedy.mend(index) + next
}

// Blame tells cards what faults there were, on them or on their instances. It
// keeps a problem that the driver tells.
func Blame(cards []Card, faults []Record) {
	for _, f := range faults {
		for i := range cards {
			c := &cards[i]
			if c.UUID == f.Device {
				blame(&c.Problem, &c.Mend, f.Fault, c.Index)
			}
			for j := range c.Instances {
				if in := &c.Instances[j]; in.UUID == f.Device {
					blame(&in.Problem, &in.Mend, f.Fault, c.Index)
				}
			}
		}
	}
}

func blame(why, mend *string, f Fault, index int) {
	switch {
	case *why == "":
		*why, *mend = f.String(), f.mend(index)
	case !strings.Contains(*why, f.String()):
		*why += "; " + f.String()
	}
}
