package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// gpuMIG is the noun for what cards are cut into.
func (a *app) gpuMIG() *cobra.Command {
	return noun("mig", "What the cards are cut into (admins)", a.gpuMIGPlan(), a.gpuMIGApply(), a.gpuMIGAssert(), a.gpuMIGExport())
}

const aboutLayouts = "The file has the format of NVIDIA's mig-parted: version, mig-configs, and in each configuration parts with\n" +
	"devices (all, or a list of cards), mig-enabled and mig-devices (how many of each profile). Cards that it doesn't\n" +
	"name stay as they are. 'ds01 gpu mig export' writes one to begin with."

// layoutFlags choose what is read of a layout file.
type layoutFlags struct {
	config     string
	skipResets bool
}

func (f *layoutFlags) register(set *pflag.FlagSet) {
	set.StringVar(&f.config, "config", "", "`NAME` of the configuration, where the file has several")
}

func (f *layoutFlags) registerSkip(set *pflag.FlagSet) {
	f.register(set)
	set.BoolVar(&f.skipResets, "skip-resets", false, "leave cards that need a reset as they are, and go on with the others")
}

// read returns the file of that name; "-" is the input.
func (f *layoutFlags) read(in io.Reader, path string) (apitype.LayoutFile, error) {
	var text []byte
	var err error
	if path == "-" {
		path = "stdin"
		text, err = io.ReadAll(in)
	} else {
		text, err = os.ReadFile(path) //nolint:gosec // the person names the file and reads it with their own rights
	}
	if err != nil {
		return apitype.LayoutFile{}, &problem.Error{
			What: "cannot read " + path, Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Name a layout file that you may read.",
		}
	}
	return apitype.LayoutFile{Name: path, YAML: string(text), Config: f.config, SkipResets: f.skipResets}, nil
}

// planMIG asks for the plan of a layout file.
func (a *app) planMIG(ctx context.Context, f *layoutFlags, path string) (apitype.MIGPlan, error) {
	file, err := f.read(a.stdin.reader(ctx), path)
	if err != nil {
		return apitype.MIGPlan{}, err
	}
	c, err := a.client()
	if err != nil {
		return apitype.MIGPlan{}, err
	}
	return c.PlanMIG(ctx, file)
}

// asDeclared reports whether a card is as its layout has it.
func asDeclared(c apitype.MIGCardPlan) bool { return len(c.Steps) == 0 && len(c.InTheWay) == 0 }

// writeMIGPlan shows a plan, card by card.
func (a *app) writeMIGPlan(w io.Writer, p apitype.MIGPlan) {
	for _, c := range p.Cards {
		a.writeMIGCard(w, c)
	}
	for _, note := range p.Notes {
		fmt.Fprintln(w, a.paint(w, yellow, "Note:")+" "+note+".")
	}
}

func (a *app) writeMIGCard(w io.Writer, c apitype.MIGCardPlan) {
	head := fmt.Sprintf("GPU %d, %s: ", c.Card, c.Model)
	if asDeclared(c) {
		fmt.Fprintln(w, head+a.paint(w, green, "as declared"))
		return
	}
	fmt.Fprintln(w, head+a.paint(w, yellow, stepCount(len(c.Steps))))
	lines := table{indent: "  "}
	for _, in := range c.Kept {
		lines.add("stays", fmt.Sprintf("%s at %d (%s)", in.Profile, in.Start, in.Slot), "")
	}
	for i, s := range c.Steps {
		lines.add(fmt.Sprint(i+1, "."), stepText(s), s.Reason)
	}
	lines.write(w)
	for _, b := range c.InTheWay {
		fmt.Fprintf(w, "  %s %s\n    %s\n", a.paint(w, red, "in the way:"), b.Why, b.Next) // not wrapped: commands are copied
	}
}

func stepText(s apitype.MIGStep) string {
	if s.Profile == "" {
		return s.Do
	}
	return fmt.Sprintf("%s %s at %d", s.Do, s.Profile, s.Start)
}

func stepCount(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

// declared reports whether every card is as its layout has it.
func declared(p apitype.MIGPlan) bool {
	return !slices.ContainsFunc(p.Cards, func(c apitype.MIGCardPlan) bool { return !asDeclared(c) })
}
