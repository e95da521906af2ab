package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
)

// A Link is the place of a line in the chain. The zero Link stands before
// the first line.
type Link struct {
	Seq  uint64
	Hash string
}

// Link returns the event's place in the chain.
func (e Event) Link() Link { return Link{e.Seq, e.Hash} }

// origin is what the first line of a log names as the hash before it.
const origin = "0000000000000000000000000000000000000000000000000000000000000000"

func (l Link) hash() string {
	if l.Seq == 0 {
		return origin
	}
	return l.Hash
}

// MaxLine is more than the longest line has, in bytes.
const MaxLine = 512 << 10

// tail is what ends a line: the hash of what is before it, closed by a brace.
const (
	tailHead = `,"hash":"`
	tailEnd  = `"}`
	tailLen  = len(tailHead) + 2*sha256.Size + len(tailEnd)
)

// Seal gives e its place behind prev and returns its line, without a line
// break. Texts that are too long are cut.
func Seal(e Event, prev Link) (line []byte, sealed Event, err error) {
	e = e.clip()
	e.Seq, e.Prev, e.Hash = prev.Seq+1, prev.hash(), ""
	body, err := json.Marshal(e)
	if err != nil {
		return nil, e, fmt.Errorf("encode an audit event: %w", err)
	}
	e.Hash = hashOf(body)
	return slices.Concat(body[:len(body)-1], []byte(tailHead+e.Hash+tailEnd)), e, nil
}

// hashOf returns the SHA-256 of a line without its hash.
func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// What can be wrong with a line by itself.
var (
	errCut    = errors.New("it is cut off")
	errEdited = errors.New("its content isn't what its hash says")
)

// Parse reads one line, without its line break. Repeated, unknown and
// differently spelt keys, a missing hash, and a hash that isn't the content's
// are errors. It doesn't look at the line before.
func Parse(line []byte) (Event, error) {
	if len(line) > MaxLine {
		return Event{}, fmt.Errorf("it has %d bytes, over %d", len(line), MaxLine)
	}
	body, hash, ok := cutHash(line)
	if !ok && bytes.HasPrefix(line, []byte(`{"seq":`)) || len(line) == 0 {
		return Event{}, errCut
	}
	if !ok {
		return Event{}, errors.New("it is no audit event")
	}
	if hashOf(body) != hash {
		return Event{}, errEdited
	}
	var e Event
	if err := json.Unmarshal(line, &e, json.RejectUnknownMembers(true)); err != nil {
		return Event{}, fmt.Errorf("it is no audit event: %w", err)
	}
	if e.Seq == 0 || e.Door == "" || e.Decision == "" || e.Hash != hash {
		return Event{}, errors.New("it is no audit event")
	}
	return e, nil
}

// cutHash takes the hash off a line and gives back what it is the hash of.
func cutHash(line []byte) (body []byte, hash string, ok bool) {
	at := len(line) - tailLen
	if at < 1 || line[0] != '{' || !bytes.HasPrefix(line[at:], []byte(tailHead)) || !bytes.HasSuffix(line, []byte(tailEnd)) {
		return nil, "", false
	}
	hash = string(line[at+len(tailHead) : len(line)-len(tailEnd)])
	body = append(make([]byte, 0, at+1), line[:at]...)
	return append(body, '}'), hash, true
}
