package apitype

import "ds01.dev/ds01/internal/problem"

// MIG is what the cards of the host are cut into.
type MIG struct {
	Cards []MIGCard `json:"cards"` // by index
}

// MIGCard is one card and what it could be cut into.
type MIGCard struct {
	Card      int              `json:"card"` // index
	UUID      string           `json:"uuid"`
	Model     string           `json:"model"`
	Enabled   bool             `json:"mig_enabled"`
	Waits     bool             `json:"waits_for_reset"` // a change of the mode does
	Drained   bool             `json:"drained"`         // an administrator took it out of use
	Instances []MIGInstance    `json:"instances"`
	Layouts   []map[string]int `json:"layouts"` // ways to fill it: how many of each profile; the most instances first
}

// MIGInstance is one MIG instance.
type MIGInstance struct {
	UUID    string `json:"uuid"`
	Slot    string `json:"slot"`
	Profile string `json:"profile"`
	Start   int    `json:"start"` // in memory slices of the card
	Size    int    `json:"size"`
}

// LayoutFile carries the text of a layout file.
type LayoutFile struct {
	Name       string `json:"name"`
	YAML       string `json:"yaml"`
	Config     string `json:"config,omitempty"`      // which of its configurations; "": the only one
	SkipResets bool   `json:"skip_resets,omitempty"` // leave cards that need a reset as they are
	Seen       string `json:"seen,omitempty"`        // digest of the plan that was agreed to: another one isn't carried out; "": any is
}

// MIGPlan is what has to be done for cards to be as a file declares.
type MIGPlan struct {
	Cards   []MIGCardPlan     `json:"cards"`  // that the file names, by index
	Steps   int               `json:"steps"`  // that would be carried out now, 0 with Refusal
	Digest  string            `json:"digest"` // of the steps
	Notes   []string          `json:"notes"`  // what whoever applies it should know
	Refusal *problem.Document `json:"refusal,omitempty"`
}

// MIGCardPlan is a plan for one card. Without steps and with nothing in the
// way it is as declared.
type MIGCardPlan struct {
	Card       int            `json:"card"`
	UUID       string         `json:"uuid"`
	Model      string         `json:"model"`
	Kept       []MIGInstance  `json:"kept"`
	Steps      []MIGStep      `json:"steps"` // in this order
	InTheWay   []MIGHindrance `json:"in_the_way"`
	NeedsReset bool           `json:"needs_reset"` // somebody must reset it, ds01 doesn't
}

// MIGStep is one call of the driver.
type MIGStep struct {
	Do      string `json:"do"` // "destroy", "create", "enable MIG" or "disable MIG"
	Card    int    `json:"card"`
	UUID    string `json:"uuid,omitempty"` // of the instance that is destroyed
	Profile string `json:"profile,omitempty"`
	Start   int    `json:"start"` // of an instance, in memory slices of the card
	Reason  string `json:"reason"`
}

// MIGHindrance is something that has to be out of the way first.
type MIGHindrance struct {
	UUID       string `json:"uuid"` // of the instance or card
	Slot       string `json:"slot"`
	User       string `json:"user,omitempty"` // who holds it
	Container  string `json:"container,omitempty"`
	NeedsReset bool   `json:"needs_reset,omitempty"`
	Why        string `json:"why"`
	Next       string `json:"next"`
}

// MIGProgress is one document of the stream that applying a layout answers
// with: first the plan, then each step that is done, and at the end either Done
// or Error.
type MIGProgress struct {
	Plan  *MIGPlan          `json:"plan,omitempty"`
	Step  *MIGStep          `json:"step,omitempty"`
	Done  bool              `json:"done,omitempty"`
	Error *problem.Document `json:"error,omitempty"`
}
