package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

func (a *app) gpuWhy() *cobra.Command {
	var (
		f      gpuFlags
		asJSON bool
	)
	return a.completeGPUFlags(a.command(spec{
		use:   "why [NAME]",
		short: "Say what GPUs you could have now, and what is in the way",
		long: "Says what a request for GPUs would come to now: the devices, or what blocks it, which limit and where that\n" +
			"is written, and what to change. Of each kind it says how many are free and how many you could have.\n" +
			"With the NAME of a container it says why that holds what it holds, and whether it could be started.\n" +
			"It reserves nothing. A request that wouldn't be granted is an answer too, and ends with 0.",
		examples: []string{
			"ds01 gpu why", "ds01 gpu why --gpus 2 --profile 1g.10gb", "ds01 gpu why --gpu-memory 40GiB", "ds01 gpu why train", "ds01 gpu why --full --json",
		},
		guide: "This asks what you could get of the GPUs now, without taking anything. It shows the limits that bind you and where they are written.",
		exits: append([]int{3}, exitsReading()...), max: 1, json: &asJSON, flags: f.register, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			if len(args) > 0 && f.given() {
				return usage("not clear what is asked", "a container and a request are given", "Leave one of them out.")
			}
			why, err := a.askWhy(ctx, &f, args)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(why)
			}
			a.writeWhy(a.Out, why, args)
			return nil
		},
	}))
}

func (a *app) askWhy(ctx context.Context, f *gpuFlags, args []string) (why apitype.GPUWhy, err error) {
	want, err := f.request()
	if err != nil {
		return why, err
	}
	c, err := a.client()
	if err != nil {
		return why, err
	}
	switch {
	case len(args) > 0:
		return c.WhyHeld(ctx, args[0])
	case want == nil:
		return why, usage("nothing to ask about", "--cpu-only holds no GPU", "Say what you want: --gpus 1.")
	case !f.given():
		return c.WhyGPUs(ctx, "")
	}
	return c.WhyGPUs(ctx, want.String())
}

// writeWhy prints the answer, what is in the way, and what there is.
func (a *app) writeWhy(w io.Writer, why apitype.GPUWhy, args []string) {
	if len(args) > 0 {
		writeHeld(w, why, args[0], a.now())
	} else {
		a.writeAsked(w, why)
	}
	for _, note := range why.Notes {
		fmt.Fprintln(w, strings.TrimPrefix(note, "ds01: "))
	}
	if len(why.Kinds) > 0 {
		fmt.Fprintln(w)
		writeKinds(w, why.Kinds)
	}
	fmt.Fprintln(w)
	used := map[string]string{}
	for _, u := range why.Usage {
		used[u.Key] = u.Text
	}
	var t table
	t.add("LIMIT", "VALUE", "IN USE", "FROM")
	for _, l := range why.Limits {
		t.add(l.Key, l.Value, orNone(used[l.Key]), l.Source)
	}
	t.write(w)
}

func (a *app) writeAsked(w io.Writer, why apitype.GPUWhy) {
	if why.Refusal == nil {
		fmt.Fprintf(w, "%s: you would get %s.\n", why.Asked, grants(why.Devices))
		return
	}
	fmt.Fprintf(w, "%s: %s\n", why.Asked, a.paint(w, yellow, "you would not get it now."))
	writeRefusal(w, why.Refusal)
}

func writeHeld(w io.Writer, why apitype.GPUWhy, name string, now time.Time) {
	text := "no GPU"
	if len(why.Devices) > 0 {
		text = grants(why.Devices)
	}
	fmt.Fprintf(w, "%s: %s: %s.\n", name, text, why.Reason)
	if why.Until != nil {
		fmt.Fprintf(w, "  It gives them back %s.\n", ahead(why.Until, now))
	}
	if why.Refusal != nil {
		fmt.Fprintln(w, "  A start would be refused now:")
		writeRefusal(w, why.Refusal)
	}
}

func writeRefusal(w io.Writer, d *problem.Document) {
	t := table{indent: "  "}
	t.add("Why", d.Detail)
	if d.Next != "" {
		t.add("Next", d.Next)
	}
	if d.Code != "" {
		t.add("Code", d.Code)
	}
	t.write(w)
}

func writeKinds(w io.Writer, kinds []apitype.GPUKind) {
	var t table
	t.add("KIND", "MEMORY", "OF YOUR SHARE", "FREE", "YOU COULD HAVE NOW")
	for _, k := range kinds {
		most := fmt.Sprint(k.Most)
		if k.Refusal != nil {
			most = "none: " + k.Refusal.Detail
		}
		t.add(k.Profile, size(k.MemoryBytes), k.ShareText, fmt.Sprintf("%d of %d", k.Free, k.Total), most)
	}
	t.write(w)
}

func grants(all []apitype.GPUGrant) string { return held(apitype.Container{GPUs: all}) }
