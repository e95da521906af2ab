// Package dockerfile reads the text of Dockerfiles as Docker's own builders do:
// with BuildKit's parser, its expansion of variables and the patterns of
// .dockerignore. It decides nothing about what they say.
package dockerfile

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// Reader reads Dockerfiles. It is safe for concurrent use.
type Reader struct{}

// Read takes a Dockerfile apart, each instruction with its words. Comments are
// left out, and what goes on over several lines is one. Errors are of kind
// problem.ErrInvalid.
func (Reader) Read(text []byte) (admission.Dockerfile, error) {
	result, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return admission.Dockerfile{}, unread(err)
	}
	d := admission.Dockerfile{Escape: result.EscapeToken}
	for _, node := range result.AST.Children {
		i := admission.Instruction{
			Verb: strings.ToUpper(node.Value), Text: node.Original, Flags: node.Flags, JSON: node.Attributes["json"], Heredoc: len(node.Heredocs) > 0,
		}
		for word := node.Next; word != nil; word = word.Next {
			i.Words = append(i.Words, word.Value)
		}
		d.Instructions = append(d.Instructions, i)
	}
	return d, nil
}

func unread(err error) error {
	return &problem.Error{
		What: "Dockerfile not read", Why: problem.Because(problem.ErrInvalid, err.Error()),
		Next: "Correct it; https://docs.docker.com/reference/dockerfile/ says how each instruction is written.",
	}
}

// Expand returns a word with its quotes taken away and the variables in it
// replaced by their values; env holds them as NAME=value, and what isn't in it
// is empty.
func (Reader) Expand(word string, escape rune, env []string) (string, error) {
	value, _, err := shell.NewLex(escape).ProcessWord(word, shell.EnvsFromSlice(env))
	if err != nil {
		return "", unread(fmt.Errorf("%s: %w", word, err))
	}
	return value, nil
}

// Ignored reports whether the text of a .dockerignore leaves a file out of the
// context, by its path in it.
func (Reader) Ignored(ignore []byte, name string) (bool, error) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(ignore))
	if err != nil {
		return false, unread(err)
	}
	ignored, err := patternmatcher.MatchesOrParentMatches(name, patterns)
	if err != nil {
		return false, unread(fmt.Errorf(".dockerignore: %w", err))
	}
	return ignored, nil
}
