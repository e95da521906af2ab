package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// tellSteps relays what the engine says of a build, with its steps as they
// stand in the person's Dockerfile. It reads on to the end.
func (b *building) tellSteps(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK && b.begun {
		data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		var said struct{ Message string }
		_ = json.Unmarshal(data, &said) // what it isn't in has no message
		return b.tellError(&problem.Error{What: notBuilt, Why: problem.Because(problem.ErrInvalid, string(b.ownImages([]byte(said.Message))))})
	}
	if resp.StatusCode != http.StatusOK {
		b.drain() // the engine may have answered before it had everything
		return b.relay(resp)
	}
	b.begin()
	for _, text := range b.told {
		if !b.ask.Quiet {
			b.say(text)
		}
	}
	if b.ask.CacheFrom && !b.ask.Quiet {
		b.say("ds01: --cache-from is left out. Steps of your own earlier builds are used again.")
	}
	steps := stepReader{shown: b.shown}
	for dec := json.NewDecoder(resp.Body); ; {
		var doc json.RawMessage
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if out := steps.show(doc); out != nil {
			b.tell(b.ownErrors(out))
		}
	}
}

// ownErrors puts the caller's names into a document that tells of a failure.
func (b *building) ownErrors(doc []byte) []byte {
	var said struct{ Error string }
	if json.Unmarshal(doc, &said) != nil || said.Error == "" {
		return doc
	}
	return b.ownImages(doc)
}

// A stepReader shows the engine's steps in the person's words. What a step
// prints can look like the beginning of the next one: then that is told in the
// person's words as well, and nothing else comes of it.
type stepReader struct {
	shown  []admission.Shown
	step   int  // the engine's, from 1
	hidden int  // of the steps so far
	quiet  bool // what is said belongs to a hidden one
}

var beginOfStep = regexp.MustCompile(`^Step ([0-9]+)/([0-9]+) : ((?s).*)$`)

// show returns a document as it is told, nil to leave it out.
func (s *stepReader) show(doc []byte) []byte {
	var said struct{ Stream string }
	if json.Unmarshal(doc, &said) != nil || said.Stream == "" {
		return doc
	}
	m := beginOfStep.FindStringSubmatch(said.Stream)
	switch {
	case m != nil && m[1] == strconv.Itoa(s.step+1):
		return s.begin(m[2], m[3])
	case strings.HasPrefix(said.Stream, "Successfully tagged "):
		return nil // told by name, once it has it
	case strings.HasPrefix(said.Stream, "Successfully built "), strings.HasPrefix(said.Stream, "[Warning]"):
		s.quiet = false
	}
	if s.quiet {
		return nil
	}
	return doc
}

// begin returns how the next step is told.
func (s *stepReader) begin(of, text string) []byte {
	all := 0
	for _, step := range s.shown {
		if step.Hidden {
			all++
		}
	}
	s.step++
	s.quiet = false
	if s.step <= len(s.shown) {
		if s.quiet = s.shown[s.step-1].Hidden; s.quiet {
			s.hidden++
			return nil
		}
		text = s.shown[s.step-1].Text
	}
	total, err := strconv.Atoi(of)
	if err != nil {
		return nil
	}
	doc, err := json.Marshal(map[string]string{"stream": fmt.Sprintf("Step %d/%d : %s", s.step-s.hidden, total-all, text)})
	if err != nil {
		return nil
	}
	return doc
}
