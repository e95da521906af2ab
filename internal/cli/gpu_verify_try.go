package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/layout"
	"ds01.dev/ds01/internal/problem"
)

// A verifier tries one card through the daemon's API, as whoever calls it.
type verifier struct {
	app    *app
	c      *client.Client
	paths  config.Paths
	flags  verifyFlags
	tell   bool            // print what is done
	card   apitype.MIGCard // as last seen
	record verification
	made   int // containers so far
}

// tryAll does the checks until one is interrupted. What is begun is waited for.
func (v *verifier) tryAll(ctx context.Context) {
	if v.switchMIG(ctx, true, "MIG mode on, nothing cut") {
		ways := chooseWays(v.card.Layouts)
		if len(ways) == 0 {
			v.record.skip("cut", "the driver tells of no way to cut it")
		}
		for _, w := range ways {
			v.tryWay(ctx, w)
		}
		v.tryCrash(ctx)
	}
	if v.switchMIG(ctx, false, "MIG mode off") {
		v.runOn(ctx, "whole card", [][]string{{v.card.UUID}})
	}
}

// switchMIG has the card be empty in that mode, and reports whether it is.
func (v *verifier) switchMIG(ctx context.Context, on bool, name string) bool {
	if ctx.Err() != nil {
		return false
	}
	want := apitype.MIGCard{Card: v.card.Card, UUID: v.card.UUID, Enabled: on}
	plan, err := v.c.PlanMIG(context.WithoutCancel(ctx), fileOf(want))
	if err == nil && slices.ContainsFunc(plan.Cards, func(c apitype.MIGCardPlan) bool { return c.NeedsReset }) {
		v.skip(name, "the mode changes with a reset of the card, which ds01 doesn't do")
		return false
	}
	return v.cut(ctx, name, want)
}

// A way is what a card is cut into.
type way struct {
	name string
	of   map[string]int // how many of each profile
}

// chooseWays chooses of the ways to fill a card one with a single instance, one
// with two or more alike and one with several kinds, each with as few instances
// as there are.
func chooseWays(all []map[string]int) []way {
	var ways []way
	for _, kind := range []struct {
		name string
		is   func(map[string]int) bool
	}{
		{"one instance", func(of map[string]int) bool { return count(of) == 1 }},
		{"instances alike", func(of map[string]int) bool { return len(of) == 1 && count(of) > 1 }},
		{"mixed instances", func(of map[string]int) bool { return len(of) > 1 }},
	} {
		var best map[string]int
		for _, of := range all {
			if kind.is(of) && (best == nil || count(of) < count(best)) {
				best = of
			}
		}
		if best != nil {
			ways = append(ways, way{kind.name + " (" + describeWay(best) + ")", best})
		}
	}
	return ways
}

func count(of map[string]int) (n int) {
	for _, k := range of {
		n += k
	}
	return n
}

func describeWay(of map[string]int) string {
	var all []string
	for _, profile := range slices.Sorted(maps.Keys(of)) {
		all = append(all, fmt.Sprintf("%d×%s", of[profile], profile))
	}
	return strings.Join(all, ", ")
}

// card is the way on a card.
func (w way) card(c apitype.MIGCard) apitype.MIGCard {
	out := apitype.MIGCard{Card: c.Card, UUID: c.UUID, Enabled: true}
	for profile, n := range w.of {
		for range n {
			out.Instances = append(out.Instances, apitype.MIGInstance{Profile: profile})
		}
	}
	return out
}

// tryWay cuts the card and runs containers on it: one with the first instance
// beside one with the others, then one with all.
func (v *verifier) tryWay(ctx context.Context, w way) {
	if !v.cut(ctx, w.name, w.card(v.card)) {
		return
	}
	var all []string
	for _, in := range v.card.Instances {
		all = append(all, in.UUID)
	}
	if len(all) == 1 {
		v.runOn(ctx, "one container, "+w.name, [][]string{all})
		return
	}
	v.runOn(ctx, "two containers, "+w.name, [][]string{all[:1], all[1:]})
	v.runOn(ctx, "one container with all, "+w.name, [][]string{all})
}

// cut has the card be as wanted, and reports whether it is.
func (v *verifier) cut(ctx context.Context, name string, want apitype.MIGCard) bool {
	return v.check(ctx, "cut: "+name, describeCard(want), func(ctx context.Context) (string, error) {
		if err := v.c.ApplyMIG(ctx, fileOf(want), func(apitype.MIGProgress) {}); err != nil {
			return "", err
		}
		return v.seeCut(ctx, want)
	})
}

// seeCut looks whether the card is as wanted.
func (v *verifier) seeCut(ctx context.Context, want apitype.MIGCard) (string, error) {
	now, err := findMIGCard(ctx, v.c, v.card.UUID)
	if err != nil {
		return "", err
	}
	v.card = now
	if saw := describeCard(now); saw != describeCard(want) {
		return "", fmt.Errorf("it is cut into: %s", saw)
	}
	return describeCard(now), nil
}

// describeCard is how a card is cut, without where its instances stand.
func describeCard(c apitype.MIGCard) string {
	of := map[string]int{}
	for _, in := range c.Instances {
		of[in.Profile]++
	}
	switch {
	case !c.Enabled:
		return "MIG off"
	case len(of) == 0:
		return "MIG on, no instances"
	}
	return describeWay(of)
}

// fileOf is a layout file for one card alone.
func fileOf(c apitype.MIGCard) apitype.LayoutFile {
	return apitype.LayoutFile{Name: "ds01 gpu verify", YAML: layout.Encode(cardsOf(apitype.MIG{Cards: []apitype.MIGCard{c}}))}
}

// check does one check, unless somebody interrupted, and writes it down.
func (v *verifier) check(ctx context.Context, name, wanted string, do func(context.Context) (string, error)) bool {
	if ctx.Err() != nil {
		return false
	}
	began := v.app.now()
	saw, err := do(context.WithoutCancel(ctx)) // the daemon ends what it begins
	one := verified{Name: name, Wanted: wanted, Saw: saw, Result: resultOK, Milliseconds: v.app.now().Sub(began).Milliseconds()}
	if err != nil {
		one.Result, one.Saw = resultFailed, problem.OneLine(err)
	}
	v.record.Checks = append(v.record.Checks, one)
	v.show(one)
	return err == nil
}

func (v *verifier) skip(name, why string) {
	v.show(v.record.skip(name, why))
}

func (v *verifier) show(c verified) {
	colours := map[string]string{resultOK: green, resultFailed: red, resultSkipped: yellow}
	v.say("%s  %s: %s\n", v.app.paint(v.app.Out, colours[c.Result], fmt.Sprintf("%-9s", c.Result)), c.Name, c.Saw)
}

// backAgain is how long the daemon may take to be there again.
const backAgain = 2 * time.Minute

// restore removes the containers and makes the card as it was, as soon as the
// daemon answers.
func (v *verifier) restore(before apitype.MIGCard) error {
	err := v.whenUp(func(ctx context.Context) error {
		if err := v.clear(ctx); err != nil {
			return err
		}
		if err := v.c.ApplyMIG(ctx, fileOf(before), func(apitype.MIGProgress) {}); err != nil {
			return err
		}
		_, err := v.seeCut(ctx, before)
		return err
	})
	if err != nil {
		return &problem.Error{
			What: fmt.Sprintf("GPU %d is not as it was (%s)", v.card.Card, describeCard(before)), Why: err,
			Next: fmt.Sprintf("It stays drained. Once what is in the way is gone, 'ds01 gpu verify %d' makes it as it was before it does anything else.", v.card.Card),
		}
	}
	return nil
}

// whenUp does something, and again while the daemon isn't there.
func (*verifier) whenUp(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), backAgain)
	defer cancel()
	for {
		err := do(ctx)
		if !errors.Is(err, problem.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}
