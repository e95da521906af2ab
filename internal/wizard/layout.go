package wizard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/gpu"
)

// LayoutCard is a card that could be cut.
type LayoutCard struct {
	Name     string           // "GPU 0, A100 80GB"
	Now      gpu.Card         // as far as a layout speaks of it
	Fillings []map[string]int // ways to fill it: how many of each profile
}

const layoutFlag = "FILE"

// AskLayout asks which card is to be cut, and how, and returns the card as it
// is to be.
func AskLayout(f *Form, cards []LayoutCard) (gpu.Card, error) {
	names := make([]string, len(cards))
	for i, c := range cards {
		names[i] = c.Name + ": " + describe(c.Now)
	}
	at, err := f.Choose("Which card is to be cut?", layoutFlag, names, 0)
	if err != nil {
		return gpu.Card{}, err
	}
	card := gpu.Card{Index: cards[at].Now.Index}
	options := []string{"whole, MIG off"}
	for _, filling := range cards[at].Fillings {
		options = append(options, inWords(filling))
	}
	options = append(options, "something else with MIG")
	how, err := f.Choose("What is it to be?", layoutFlag, options, 0)
	switch {
	case err != nil || how == 0:
		return card, err
	case how <= len(cards[at].Fillings):
		return cut(card, cards[at].Fillings[how-1]), nil
	}
	filling, err := askInstances(f)
	return cut(card, filling), err
}

// askInstances asks for what isn't a way to fill the card.
func askInstances(f *Form) (map[string]int, error) {
	answer, err := f.Ask(Question{
		Label: "Instances, such as 2x1g.10gb,3g.40gb", Default: "none", Flag: layoutFlag,
		Check: func(answer string) error { _, err := readInstances(answer); return err },
	})
	if err != nil {
		return nil, err
	}
	return readInstances(answer)
}

func readInstances(answer string) (map[string]int, error) {
	filling := map[string]int{}
	if answer == "none" {
		return filling, nil
	}
	r, err := gpu.ParseRequest(answer)
	for _, p := range r.Parts {
		filling[p.Profile] += p.Count
	}
	if err != nil || filling[gpu.Full]+filling[gpu.AnyInstance]+filling[""]+r.Count > 0 || len(filling) == 0 {
		return nil, errors.New("write profiles, such as 2x1g.10gb,3g.40gb, or none")
	}
	return filling, nil
}

func cut(card gpu.Card, filling map[string]int) gpu.Card {
	card.MIG = true
	for _, profile := range slices.Sorted(maps.Keys(filling)) {
		card.Instances = append(card.Instances, slices.Repeat([]gpu.Instance{{Profile: profile}}, filling[profile])...)
	}
	return card
}

// describe says what a card is cut into.
func describe(c gpu.Card) string {
	filling := map[string]int{}
	for _, in := range c.Instances {
		filling[in.Profile]++
	}
	switch {
	case !c.MIG:
		return "whole"
	case len(filling) == 0:
		return "MIG on, no instances"
	}
	return inWords(filling)
}

func inWords(filling map[string]int) string {
	var words []string
	for _, profile := range slices.Sorted(maps.Keys(filling)) {
		words = append(words, fmt.Sprintf("%d x %s", filling[profile], profile))
	}
	return strings.Join(words, ", ")
}
