// Package redteam attacks a gateway as an ordinary person would, and looks
// afterwards whether anything came of it: a file of the host read or written,
// another person's container touched, a container outside the limits. Its
// vectors are data. It attacks only what it made itself, so that a gateway
// that is broken costs nobody anything.
package redteam

import (
	"regexp"
	"slices"
	"strings"
)

// A Vector is one way to reach what isn't one's own.
type Vector struct {
	ID     string // "create-privileged"
	Topics []int  // numbers of Topics that it tries
	Says   string // what is tried, in words
	Steps  []Step // sent one after the other, all by the attacker

	// LabOnly says why it is tried in a lab only: what it would do to a host
	// whose gateway lets it pass. "" is tried everywhere.
	LabOnly string
}

// A Step is one request. Its texts may hold the placeholders that Scene
// lists, as {victim}.
type Step struct {
	Door    Door
	Method  string
	Path    string // as it is sent, with its query
	Headers []string
	Body    string  // JSON unless a header says otherwise; "" sends none
	Raw     string  // these bytes in place of a request
	Times   int     // how often it is sent, side by side; 0 is once
	Swap    bool    // no request: {work}/swap becomes a link to {canary}
	Build   *Recipe // no request: a build by BuildKit
	Rules   string  // no request: rules of the site's that are laid beside its own

	// Status lists what may be answered; 0 is a connection that is closed
	// without an answer. An effect is one whatever the status.
	Status []int
	// Message is a part of the answer where it is a refusal, "" = any.
	Message string
	// Save keeps the Id of the answer as {made}.
	Save bool
	// Stays listens until the answer ends, and ends nothing of its own meanwhile, for
	// what ends with its client, and for what works on once it has answered.
	Stays bool
	// Run starts the container that the answer names, and waits for its end.
	Run bool
}

// A Door is a socket that people reach.
type Door int

// The two doors. The API's socket serves the Docker API too, under /docker.
const (
	Gateway Door = iota
	API
)

// What a vector may be answered: by a refusal, as if it weren't there (403
// where the route isn't served at all), or anything but a failure.
func refused() []int { return []int{0, 400, 403, 404, 405, 413, 414, 415, 431, 501, 505} }
func gone() []int    { return []int{404} }
func foreign() []int { return []int{403, 404} }
func either() []int {
	return []int{0, 101, 200, 201, 202, 204, 304, 400, 403, 404, 405, 406, 409, 413, 415, 429, 501, 503}
}

var placeholder = regexp.MustCompile(`\{[a-z0-9]+\}`)

// Needs lists the placeholders that the vector's requests hold, each once.
func (v Vector) Needs() []string {
	var all []string
	for _, s := range v.Steps {
		texts := append([]string{s.Path, s.Body, s.Raw, s.Rules}, s.Headers...)
		if s.Build != nil {
			texts = append(texts, s.Build.texts()...)
		}
		text := strings.Join(texts, " ")
		for _, name := range placeholder.FindAllString(text, -1) {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// Vectors returns every vector, in the order of their topics.
func Vectors() []Vector {
	return slices.Concat(
		parserVectors(), transportVectors(), tunnelVectors(),
		namespaceVectors(), privilegeVectors(), deviceVectors(), mountVectors(), volumeVectors(), resourceVectors(), identityVectors(),
		execVectors(), foreignVectors(), archiveVectors(), imageVectors(), buildVectors(), kitVectors(), networkVectors(), clusterVectors(),
		viewVectors(), apiVectors(), unlistedVectors(), ruleVectors(),
	)
}
