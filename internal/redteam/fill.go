package redteam

import (
	"fmt"
	"strconv"
	"strings"
)

// facts are what the placeholders of a scene stand for.
type facts map[string]string

// fill puts facts in place of the placeholders of a text.
func (f facts) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := f[name]; ok {
			return value
		}
		return name
	})
}

// lacks lists what a vector needs and the scene hasn't got.
func (f facts) lacks(v Vector) []string {
	var missing []string
	for _, name := range v.Needs() {
		if _, ok := f[name]; !ok && name != lengthMark && name != bodyEnd && name != "{made}" {
			missing = append(missing, name)
		}
	}
	return missing
}

// Marks of a raw request: the length of the body that follows, and its end
// where it isn't the end of the bytes.
const (
	lengthMark = "{length}"
	bodyEnd    = "{end}"
)

// fillRaw fills a request written by hand in and counts its chunks and
// bodies.
func (f facts) fillRaw(text string) string {
	text = f.fill(text)
	if before, rest, ok := strings.Cut(text, chunkStart); ok {
		data, after, _ := strings.Cut(rest, chunkEnd)
		text = fmt.Sprintf("%s%x;x=y\r\n%s\r\n0\r\n\r\n%s", before, len(data), data, after)
	}
	for { // from the last on, so that what is inside is counted as it will be
		at := strings.LastIndex(text, lengthMark)
		if at < 0 {
			return text
		}
		head, rest := text[:at], text[at+len(lengthMark):]
		fields, body, _ := strings.Cut(rest, "\r\n\r\n")
		inner, after, _ := strings.Cut(body, bodyEnd)
		text = head + strconv.Itoa(len(inner)) + fields + "\r\n\r\n" + inner + after
	}
}

// request writes a step's request as bytes.
func (f facts) request(s Step) string {
	if s.Raw != "" {
		return f.fillRaw(s.Raw)
	}
	body, upgrade, typed := f.fill(s.Body), false, false
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: docker\r\n", s.Method, f.fill(s.Path))
	for _, h := range s.Headers {
		upgrade = upgrade || strings.HasPrefix(h, "Connection:")
		typed = typed || strings.HasPrefix(h, "Content-Type:")
		head.WriteString(f.fill(h) + "\r\n")
	}
	if !upgrade {
		head.WriteString("Connection: close\r\n")
	}
	if body != "" {
		if !typed {
			head.WriteString("Content-Type: application/json\r\n")
		}
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(body))
	}
	return head.String() + "\r\n" + body
}
