// Package problem is the one shape of a refusal: what failed, why, and what
// to do next. It maps each kind to the exit code and the HTTP status that the
// outside sees. It does not print or log.
package problem

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// Kinds of failure. Wrap one of them in Error.Why, or test for it with
// errors.Is. An error that wraps none of them is an internal failure.
var (
	ErrInvalid     = errors.New("invalid request")       // exit 2, HTTP 400
	ErrNotFound    = errors.New("not found")             // exit 3, HTTP 404
	ErrExhausted   = errors.New("no capacity now")       // exit 4, HTTP 503
	ErrDenied      = errors.New("not allowed")           // exit 5, HTTP 403
	ErrLimit       = errors.New("limit reached")         // exit 5, HTTP 429
	ErrConflict    = errors.New("conflict")              // exit 6, HTTP 409
	ErrUnavailable = errors.New("service not available") // exit 7, HTTP 503
)

// A class is one row of the table that ties a kind to its numbers.
type class struct {
	kind   error
	slug   string
	exit   int
	status int
}

// classes lists every kind, most specific first.
func classes() []class {
	return []class{
		{ErrInvalid, "invalid", 2, http.StatusBadRequest},
		{ErrNotFound, "not_found", 3, http.StatusNotFound},
		{ErrExhausted, "exhausted", 4, http.StatusServiceUnavailable},
		{ErrLimit, "limit", 5, http.StatusTooManyRequests},
		{ErrDenied, "denied", 5, http.StatusForbidden},
		{ErrConflict, "conflict", 6, http.StatusConflict},
		{ErrUnavailable, "unavailable", 7, http.StatusServiceUnavailable},
	}
}

func classOf(err error) class {
	for _, c := range classes() {
		if errors.Is(err, c.kind) {
			return c
		}
	}
	return class{slug: "internal", exit: 1, status: http.StatusInternalServerError}
}

// Error tells a person what failed, why, and what to do next. What is a
// phrase without a full stop; Why wraps one of the kinds; Next is one or more
// full sentences and may be empty. Code is a stable machine-readable reason
// such as USER_AT_LIMIT, or empty.
type Error struct {
	What string
	Why  error
	Next string
	Code string
}

// Error returns "what: why".
func (e *Error) Error() string {
	if e.Why == nil {
		return e.What
	}
	return e.What + ": " + e.Why.Error()
}

// Unwrap returns Why, so that errors.Is finds the kind.
func (e *Error) Unwrap() error { return e.Why }

// Because returns an error that reads as text and is of the given kind. It is
// how a reason is written without repeating the kind's own words.
func Because(kind error, text string) error { return &reason{kind: kind, text: text} }

type reason struct {
	kind error
	text string
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.kind }

// ExitCode returns the process exit code for err: 0 for nil, 1 for an error
// of no kind, else 2 to 7.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	return classOf(err).exit
}

// HTTPStatus returns the HTTP status for err: 200 for nil, 500 for an error
// of no kind.
func HTTPStatus(err error) int {
	if err == nil {
		return http.StatusOK
	}
	return classOf(err).status
}

// Lines returns the three lines a person sees: what, why, next. A part that
// is missing is left out.
func Lines(err error) []string {
	var p *Error
	if !errors.As(err, &p) {
		return []string{err.Error()}
	}
	lines := []string{p.What}
	if p.Why != nil {
		lines = append(lines, p.Why.Error())
	}
	if p.Next != "" {
		lines = append(lines, p.Next)
	}
	for i, line := range lines { // several errors in one stand on lines of their own
		lines[i] = strings.ReplaceAll(line, "\n", "; ")
	}
	return lines
}

// OneLine returns err in the shape the Docker gateway answers:
// "ds01: <what>: <why>. <next>".
func OneLine(err error) string {
	var p *Error
	if !errors.As(err, &p) {
		return "ds01: " + err.Error()
	}
	s := "ds01: " + strings.TrimSuffix(p.Error(), ".")
	if p.Next != "" {
		s += ". " + p.Next
	}
	return s
}

// Document is the RFC 9457 body of a failed API call.
type Document struct {
	Type   string `json:"type"`   // "urn:ds01:problem:<kind>"
	Title  string `json:"title"`  // what
	Status int    `json:"status"` // HTTP status
	Detail string `json:"detail"` // why
	Next   string `json:"next,omitempty"`
	Code   string `json:"code,omitempty"`
}

// Describe returns err as an RFC 9457 document.
func Describe(err error) Document {
	c := classOf(err)
	d := Document{Type: "urn:ds01:problem:" + c.slug, Title: err.Error(), Status: c.status}
	if c.status == 0 {
		d.Status = http.StatusInternalServerError
	}
	if p, ok := errors.AsType[*Error](err); ok {
		d.Title, d.Next, d.Code = p.What, p.Next, p.Code
		if p.Why != nil {
			d.Detail = p.Why.Error()
		}
	}
	return d
}

// MarshalJSON encodes the error as its RFC 9457 document.
func (e *Error) MarshalJSON() ([]byte, error) { return json.Marshal(Describe(e)) }

// FromDocument rebuilds an error from an RFC 9457 document, so that the CLI
// ends with the exit code the daemon meant. An unknown type gives an error of
// no kind.
func FromDocument(d Document) error {
	kind := errors.New(d.Detail)
	for _, c := range classes() {
		if d.Type == "urn:ds01:problem:"+c.slug {
			kind = Because(c.kind, cmp.Or(d.Detail, c.kind.Error()))
		}
	}
	if kind.Error() == "" {
		kind = nil
	}
	return &Error{What: d.Title, Why: kind, Next: d.Next, Code: d.Code}
}
