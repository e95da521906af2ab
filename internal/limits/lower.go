package limits

import "ds01.dev/ds01/internal/quantity"

// A Deferral is a limit of memory that is to be lower than what is in use: it
// is lowered only as far as nothing has to be ended for it. The zero value
// defers nothing.
type Deferral struct {
	Wanted quantity.ByteSize // what it is to be
	For    quantity.ByteSize // what it is for now; 0: there is none, as before
}

// Lower returns what a limit of memory is set to that is to be lowered: to what
// is wanted, or where something would have to be ended for that, to the least
// at which nothing has. One that would hardly be lower stays as it is. A limit
// of zero is none.
func Lower(has, wanted, least quantity.ByteSize) (set quantity.ByteSize, d Deferral) {
	switch {
	case least <= wanted:
		return wanted, Deferral{}
	case has > 0 && least >= has-has/16:
		least = has
	}
	return least, Deferral{Wanted: wanted, For: least}
}
