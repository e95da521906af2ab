// Package admission decides what a Docker API request may say. It reads
// request bodies strictly, reviews them against an account's limits, and
// returns bodies of its own that are sent in their place. It knows the API by
// its own types and speaks to nobody.
package admission

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ds01.dev/ds01/internal/problem"
)

// MaxBody is the largest JSON body that is read, in bytes.
const MaxBody = 1 << 20

// maxDepth bounds nesting; Docker's own bodies stay below 10.
const maxDepth = 64

// decode reads one JSON document into v. Repeated keys, keys in other case
// than Docker writes them, unknown keys, a second document and invalid UTF-8
// are errors of kind problem.ErrInvalid.
func decode(what string, data []byte, v any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return invalid(what, "the request has no body")
	}
	if len(data) > MaxBody {
		return invalid(what, fmt.Sprintf("the body has %d bytes, over %d", len(data), MaxBody))
	}
	if err := checkDepth(data); err != nil {
		return invalid(what, err.Error())
	}
	if err := json.Unmarshal(data, v, json.RejectUnknownMembers(true)); err != nil {
		return invalid(what, err.Error())
	}
	return nil
}

func checkDepth(data []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for dec.PeekKind() != jsontext.KindInvalid {
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		if dec.StackDepth() > maxDepth {
			return fmt.Errorf("the body is nested deeper than %d levels", maxDepth)
		}
	}
	return nil // what is malformed, Unmarshal says
}

// Encode returns v as the JSON that is sent to the engine.
func Encode(v any) ([]byte, error) {
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return data, nil
}

func invalid(what, why string) error {
	return &problem.Error{
		What: what,
		Why:  problem.Because(problem.ErrInvalid, why),
		Next: "ds01 reads requests strictly; update the client, or ask your administrators which one it is tested with.",
	}
}

// Unset is a field that ds01 lets nobody set. It takes any value when read,
// remembers whether that value asks for something, and is never sent on.
type Unset struct {
	asked string // the JSON value, "" where it asks for nothing
}

// UnmarshalJSON keeps a value that isn't empty.
func (u *Unset) UnmarshalJSON(value []byte) error {
	switch string(bytes.ReplaceAll(value, []byte(" "), nil)) {
	case "null", `""`, "0", "-1", "false", "[]", "{}":
	default:
		u.asked = string(value)
	}
	return nil
}

// IsZero keeps the field out of what is sent.
func (Unset) IsZero() bool { return true }

// Ignored is a field that changes nothing in a container: it takes any value
// and is not sent on.
type Ignored struct{}

// UnmarshalJSON drops the value.
func (*Ignored) UnmarshalJSON([]byte) error { return nil }

// IsZero keeps the field out of what is sent.
func (Ignored) IsZero() bool { return true }

// Words is a command: a list of words, or one string, as the API allows.
type Words []string

// UnmarshalJSON reads a list or a string.
func (w *Words) UnmarshalJSON(value []byte) error {
	if len(value) > 0 && value[0] == '"' {
		var one string
		if err := json.Unmarshal(value, &one); err != nil {
			return err
		}
		*w = Words{one}
		return nil
	}
	return json.Unmarshal(value, (*[]string)(w))
}
