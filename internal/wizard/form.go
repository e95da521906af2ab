// Package wizard asks a person, line by line, for what a command needs, and
// returns plain values. It does nothing with them: that is the command's work.
package wizard

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// Form asks questions on one terminal. It is for one goroutine.
type Form struct {
	in  io.Reader
	out io.Writer
}

// NewForm returns a form that writes questions to out and reads answers, one
// line each, from in. It never reads beyond the end of a line.
func NewForm(in io.Reader, out io.Writer) *Form { return &Form{in: in, out: out} }

// Question is one line to fill in.
type Question struct {
	Label   string                    // "Name"
	Default string                    // what an empty line means; "": an answer is needed
	Flag    string                    // what to write on the command line instead, for the error at the end of input
	Check   func(answer string) error // nil: every answer is good; its error is shown and the question asked again
}

// Ask asks until the answer passes the question's check. The end of the input
// is problem.ErrInvalid and names the flag.
func (f *Form) Ask(q Question) (string, error) {
	prompt := q.Label
	if q.Default != "" {
		prompt += " [" + q.Default + "]"
	}
	for {
		fmt.Fprint(f.out, prompt+": ")
		answer, err := f.line(q)
		if err != nil {
			return "", err
		}
		if answer == "" {
			answer = q.Default
		}
		if err := q.check(answer); err != nil {
			fmt.Fprintln(f.out, "  "+err.Error())
			continue
		}
		return answer, nil
	}
}

func (q Question) check(answer string) error {
	switch {
	case answer == "":
		return errors.New("an answer is needed here")
	case q.Check == nil:
		return nil
	default:
		return q.Check(answer)
	}
}

// Choose shows the options, numbered from 1, and returns the index of the one
// that was chosen; an empty line means the index standard.
func (f *Form) Choose(label, flag string, options []string, standard int) (int, error) {
	fmt.Fprintln(f.out, label)
	for i, option := range options {
		fmt.Fprintf(f.out, "  %d) %s\n", i+1, option)
	}
	answer, err := f.Ask(Question{
		Label: "Choose", Default: strconv.Itoa(standard + 1), Flag: flag,
		Check: func(answer string) error {
			if n, err := strconv.Atoi(answer); err != nil || n < 1 || n > len(options) {
				return fmt.Errorf("write a number from 1 to %d", len(options))
			}
			return nil
		},
	})
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(answer)
	return n - 1, err
}

// Confirm asks for yes or no until it gets one of them; an empty line is no.
func (f *Form) Confirm(label, flag string) (bool, error) {
	answer, err := f.Ask(Question{
		Label: label + " (yes or no)", Default: "no", Flag: flag,
		Check: func(answer string) error {
			switch strings.ToLower(answer) {
			case "y", "yes", "n", "no":
				return nil
			}
			return errors.New("write yes or no")
		},
	})
	return strings.HasPrefix(strings.ToLower(answer), "y"), err
}

// Pause waits for Enter. The end of the input is as good.
func (f *Form) Pause(label string) error {
	fmt.Fprint(f.out, label)
	_, err := f.line(Question{})
	if errors.Is(err, problem.ErrInvalid) {
		return nil
	}
	return err
}

// line reads one line, byte by byte, so that what follows it stays for
// whoever reads the terminal next.
func (f *Form) line(q Question) (string, error) {
	var text []byte
	one := make([]byte, 1)
	for {
		n, err := f.in.Read(one)
		switch {
		case n == 1 && one[0] == '\n':
			return strings.TrimSpace(string(text)), nil
		case n == 1:
			text = append(text, one[0])
		case errors.Is(err, io.EOF) && len(text) > 0:
			return strings.TrimSpace(string(text)), nil
		case errors.Is(err, io.EOF):
			fmt.Fprintln(f.out)
			return "", noAnswer(q)
		case err != nil:
			return "", fmt.Errorf("read an answer: %w", err)
		}
	}
}

func noAnswer(q Question) error {
	err := &problem.Error{
		What: fmt.Sprintf("no answer to %q", q.Label),
		Why:  problem.Because(problem.ErrInvalid, "the input ended"),
	}
	if q.Flag != "" {
		err.Next = "Write it on the command line: " + q.Flag + "."
	}
	return err
}
