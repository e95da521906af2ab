package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/layout"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/wizard"
)

func (a *app) gpuMIGApply() *cobra.Command {
	var f layoutFlags
	var yes bool
	return a.command(spec{
		use: "apply [FILE]", short: "Cut the cards as a layout file declares (admins)",
		long: "Shows the plan, asks, and carries it out, card by card. Instances that may stay are left alone, also free ones.\n" +
			"While something that has to go is in use nothing is touched, and it says who holds it. Nobody is granted a\n" +
			"device on the cards meanwhile. What is begun is done to its end, also when you leave or ds01 is killed.\n" +
			"A MIG mode that changes with a reset of the card only is yours to change: it says how. With --skip-resets such\n" +
			"cards are left as they are, and the others go on.\n" +
			"At a terminal it offers to drain cards that somebody holds, see 'ds01 gpu drain'.\n" +
			"Without a FILE, and with somebody at the terminal, it asks which card is to be cut, and how.\n" + aboutLayouts,
		examples: []string{
			"ds01 gpu mig apply", "ds01 gpu mig apply layout.yaml", "ds01 gpu mig apply layout.yaml --config all-balanced --yes",
			"ds01 gpu mig apply layout.yaml --skip-resets",
		},
		guide: "A big GPU can be cut into instances, which different people use at once. This changes what the cards are cut into. " +
			"First you see each step; nothing is done until you say yes, and nothing that somebody uses is touched.",
		exits: exitsOfOne(), max: 1, complete: completeFiles,
		flags: func(set *pflag.FlagSet) {
			f.registerSkip(set)
			set.BoolVar(&yes, "yes", false, "do it without being asked")
		},
		run: func(ctx context.Context, args []string) error {
			file, err := a.layoutToApply(ctx, &f, args)
			if err != nil {
				return err
			}
			return a.applyMIG(ctx, file, yes)
		},
	})
}

// layoutToApply reads the file, or asks for a layout where there is none.
func (a *app) layoutToApply(ctx context.Context, f *layoutFlags, args []string) (apitype.LayoutFile, error) {
	if len(args) > 0 {
		return f.read(a.stdin.reader(ctx), args[0])
	}
	if !a.interactive() {
		return apitype.LayoutFile{}, usage("no layout to apply", "no FILE is named, and stdin is not a terminal", "Write it as: ds01 gpu mig apply FILE --yes.")
	}
	c, err := a.client()
	if err != nil {
		return apitype.LayoutFile{}, err
	}
	mig, err := c.MIG(ctx)
	if err != nil {
		return apitype.LayoutFile{}, err
	}
	if len(mig.Cards) == 0 {
		return apitype.LayoutFile{}, &problem.Error{What: "no layout to apply", Why: problem.Because(problem.ErrNotFound, "this host has no GPU"), Next: "'ds01 doctor' says what is missing."}
	}
	var cards []wizard.LayoutCard
	for i, card := range cardsOf(mig) {
		cards = append(cards, wizard.LayoutCard{Name: fmt.Sprintf("GPU %d, %s", card.Index, mig.Cards[i].Model), Now: card, Fillings: mig.Cards[i].Layouts})
	}
	chosen, err := wizard.AskLayout(a.form(ctx), cards)
	if err != nil {
		return apitype.LayoutFile{}, err
	}
	return apitype.LayoutFile{Name: "your choice", YAML: layout.Encode([]gpu.Card{chosen}), SkipResets: f.skipResets}, nil
}

func (a *app) applyMIG(ctx context.Context, file apitype.LayoutFile, yes bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	plan, err := c.PlanMIG(ctx, file)
	if err != nil {
		return err
	}
	a.writeMIGPlan(a.Out, plan)
	switch {
	case plan.Refusal != nil:
		if err := a.offerDrains(ctx, c, plan, yes); err != nil {
			return err
		}
		return problem.FromDocument(*plan.Refusal)
	case plan.Steps == 0:
		return a.leftOut(plan)
	}
	if !yes {
		if err := a.confirm(ctx, fmt.Sprintf("Do this (%s)?", stepCount(plan.Steps))); err != nil {
			return err
		}
		file.Seen = plan.Digest
	}
	done, steps := 0, plan.Steps
	told := func(p apitype.MIGProgress) {
		switch {
		case p.Plan != nil: // made anew, with the cards closed
			plan, steps = *p.Plan, p.Plan.Steps
		case p.Step != nil:
			done++
			fmt.Fprintf(a.Out, "%s%d/%d  GPU %d: %s, done\n", a.overProgress(), done, steps, p.Step.Card, stepText(*p.Step))
		}
	}
	err = a.progress("Cutting", func() error { return c.ApplyMIG(ctx, file, told) })
	switch {
	case err == nil:
		return a.leftOut(plan)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintf(a.Err, "ds01 goes on without you: %d of %s done when you left. 'ds01 gpu list' shows the cards.\n", done, stepCount(steps))
		return err
	case done > 0:
		fmt.Fprintf(a.Err, "%d of %s done, and they stay done.\n", done, stepCount(steps))
	}
	return withNext(err, problem.ErrUnavailable, "What was begun is finished when ds01 runs again. Then look with 'ds01 gpu mig plan'.")
}

// offerDrains asks at a terminal whether the cards of which somebody holds
// something shall be granted to nobody else, so that they become free. One that
// is out of use already is left with its reason.
func (a *app) offerDrains(ctx context.Context, c *client.Client, plan apitype.MIGPlan, yes bool) error {
	if yes || !a.interactive() {
		return nil
	}
	gpus, err := c.GPUs(ctx)
	if err != nil {
		return err
	}
	for _, card := range plan.Cards {
		held := slices.ContainsFunc(card.InTheWay, func(b apitype.MIGHindrance) bool { return b.User != "" })
		if !held || slices.ContainsFunc(gpus, func(g apitype.GPU) bool { return g.Card == card.Card && g.Problem != "" }) {
			continue
		}
		drain, err := a.form(ctx).Confirm(fmt.Sprintf("Keep others off GPU %d, so that it becomes free?", card.Card), "ds01 gpu drain")
		if err != nil {
			return err
		}
		if !drain {
			continue
		}
		if _, err := c.Drain(ctx, card.UUID, "it is to be cut anew"); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "GPU %d is drained, until 'ds01 gpu undrain %d'.\n", card.Card, card.Card)
	}
	return nil
}

// leftOut says that it is done, or which cards were left as they are.
func (a *app) leftOut(plan apitype.MIGPlan) error {
	left := 0
	for _, c := range plan.Cards {
		if c.NeedsReset {
			left++
			fmt.Fprintf(a.Out, "GPU %d is left as it is: it needs a reset.\n", c.Card)
		}
	}
	if left == 0 {
		fmt.Fprintln(a.Out, "The cards are as declared.")
	}
	return nil
}
