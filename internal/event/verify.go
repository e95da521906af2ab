package event

import (
	"errors"
	"fmt"
	"iter"
)

// A Line is one line of a log and where it stands.
type Line struct {
	File   string
	Number int // from 1, in its file
	Text   []byte
	Torn   bool // the file ends here, without a line break
}

// A Kind says in one word what happened to a line.
type Kind string

// Kinds of faults.
const (
	Edited    Kind = "edited"
	Removed   Kind = "removed"
	Inserted  Kind = "inserted"
	Reordered Kind = "reordered"
	Truncated Kind = "truncated"
)

// A Fault is where a chain is broken.
type Fault struct {
	File   string
	Number int
	Kind   Kind
	Why    string
}

// A Report is what Verify found.
type Report struct {
	Lines int    // whole lines before the fault, or all
	First Link   // of the first line; Seq > 1: older files are gone
	Last  Link   // of the last whole line
	Bad   *Fault // nil: the chain is whole
	// Torn is where the very last line is cut off, as a crash leaves it;
	// nil: it isn't. It is no fault.
	Torn *Fault
}

// chain is how far a chain has been followed.
type chain struct {
	Report
	prev Event // the last whole line
	at   Line
}

// Verify follows the lines of a log, oldest first, and stops at the first
// that doesn't belong where it stands. What was cut off at the end, or before
// the first line, and a chain that somebody has computed anew from some line
// on, can't be seen by it: compare Last with a hash kept elsewhere.
func Verify(lines iter.Seq[Line]) Report {
	next, stop := iter.Pull(lines)
	defer stop()
	c := &chain{}
	line, ok := next()
	for ok {
		following, more := next()
		e, err := Parse(line.Text)
		switch {
		case err != nil && line.Torn && !more:
			c.Torn = &Fault{line.File, line.Number, Truncated, "the last line is cut off, as a crash leaves it"}
			return c.Report
		case err != nil:
			c.Bad = damaged(line, err)
			return c.Report
		case c.Lines > 0 && !follows(e, c.prev.Link()):
			c.Bad = c.judge(line, e, rest(following, more, next))
			return c.Report
		}
		c.take(line, e)
		line, ok = following, more
	}
	return c.Report
}

func follows(e Event, prev Link) bool { return e.Seq == prev.Seq+1 && e.Prev == prev.hash() }

func (c *chain) take(line Line, e Event) {
	if c.Lines == 0 {
		c.First = e.Link()
	}
	c.Lines++
	c.Last, c.prev, c.at = e.Link(), e, line
}

func damaged(line Line, err error) *Fault {
	kind := Edited
	if errors.Is(err, errCut) {
		kind = Truncated
	}
	return &Fault{line.File, line.Number, kind, err.Error()}
}

// rest returns the lines that are still to come.
func rest(following Line, more bool, next func() (Line, bool)) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for more && yield(following) {
			following, more = next()
		}
	}
}

// judge says what brought a whole line to a place where it doesn't belong, by
// what comes after it.
func (c *chain) judge(line Line, e Event, later iter.Seq[Line]) *Fault {
	fault := func(kind Kind, format string, args ...any) *Fault {
		return &Fault{line.File, line.Number, kind, fmt.Sprintf(format, args...)}
	}
	successor, linked := false, false // of the line before; to this one
	for l := range later {
		other, err := Parse(l.Text)
		if err != nil {
			continue
		}
		successor = successor || follows(other, c.Last)
		linked = linked || follows(other, e.Link())
	}
	switch {
	case successor && linked && e.Seq > c.Last.Seq:
		return fault(Reordered, "it is number %d and stands where number %d belongs, which comes later", e.Seq, c.Last.Seq+1)
	case successor:
		return fault(Inserted, "it claims to be number %d; the line that belongs here comes later", e.Seq)
	case e.Seq <= c.Last.Seq && e.Seq >= c.First.Seq:
		return fault(Inserted, "it claims to be number %d, and there was one already", e.Seq)
	case e.Seq <= c.Last.Seq:
		return fault(Reordered, "it is number %d and stands behind number %d", e.Seq, c.Last.Seq)
	case e.Seq > c.Last.Seq+1:
		return fault(Removed, "it is number %d and follows number %d: %d lines before it are missing", e.Seq, c.Last.Seq, e.Seq-c.Last.Seq-1)
	}
	return &Fault{c.at.File, c.at.Number, Edited, fmt.Sprintf("the line after it, number %d, was written behind another one", e.Seq)}
}
