package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
)

type verifyFlags struct {
	image string
	dir   string
	crash bool
}

func (a *app) gpuVerify() *cobra.Command {
	var f verifyFlags
	var asJSON bool
	return a.command(spec{
		use: "verify UUID|INDEX", short: "Try a drained card and write down what was seen (root)",
		long: "Cuts a drained card in several ways, runs containers on one instance, on two, on a mix and on the whole card,\n" +
			"and sees that each opens its own device nodes and that the kernel refuses it all others. Writes a dated record\n" +
			"into the current directory, and leaves the card cut as it was, and drained. Nobody may hold or use anything on\n" +
			"it. Where the MIG mode changes with a reset only it is left, and what needs the other mode isn't tried.\n" +
			"With --crash it kills the daemon, which systemd starts again, while it cuts the card; containers run on.\n" +
			"What is cut short is taken back: at Ctrl-C at once, after a kill when it is run for this card again.\n" +
			"It ends with 1 if a check failed.",
		examples: []string{
			"ds01 gpu drain 1 --reason 'to be verified' && ds01 gpu verify 1", "ds01 gpu verify 1 --crash --image pytorch/pytorch --dir /root/records",
			"ds01 gpu verify 1 --json",
		},
		guide: "This tries a GPU that nobody is given: it is cut in several ways, and containers are run on it. Then all is as it was.",
		exits: exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeCards,
		flags: func(set *pflag.FlagSet) {
			set.StringVar(&f.image, "image", "", "a local `IMAGE` that has sh, with nvidia-smi in it or brought by the driver (default: the configured one)")
			set.StringVar(&f.dir, "dir", ".", "write the record into `DIR`")
			set.BoolVar(&f.crash, "crash", false, "kill the daemon while it cuts the card, too")
		},
		run: func(ctx context.Context, args []string) error {
			record, err := a.verifyCard(ctx, args[0], f, !asJSON)
			if record == nil {
				return err
			}
			if e := a.keepRecord(*record, f.dir, asJSON); e != nil {
				return errors.Join(err, e)
			}
			if err == nil && !record.Passed {
				return exitError(exitFailed)
			}
			return err
		},
	})
}

// verifyCard tries a card. Without a record nothing was begun.
func (a *app) verifyCard(ctx context.Context, name string, f verifyFlags, tell bool) (*verification, error) {
	if os.Geteuid() != 0 {
		return nil, notVerified(name, problem.ErrDenied, "it puts device nodes into containers from outside, which only root can", "Run it with sudo.")
	}
	paths, _, err := a.hostPaths()
	if err != nil {
		return nil, err
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	v := &verifier{app: a, c: c, paths: paths, flags: f, tell: tell}
	if v.card, err = findMIGCard(ctx, c, name); err != nil {
		return nil, err
	}
	saved, err := openNote(filepath.Join(filepath.Dir(paths.Database), "verify-"+v.card.UUID+".json"))
	if err != nil {
		return nil, err
	}
	defer saved.close()
	if err := v.takeBack(saved); err != nil { //nolint:contextcheck // not interruptible: the card must be as it was
		return nil, err
	}
	if v.card, err = findMIGCard(ctx, c, v.card.UUID); err != nil {
		return nil, err
	}
	if err := v.mayBegin(ctx); err != nil {
		return nil, err
	}
	before := v.card
	if err := saved.write(before); err != nil {
		return nil, err
	}
	v.begin(ctx, before)
	v.tryAll(ctx)
	v.record.Interrupted = ctx.Err() != nil
	err = v.restore(before) //nolint:contextcheck // the same
	v.end(err)
	if err != nil {
		return &v.record, err
	}
	return &v.record, errors.Join(saved.clear(), ctx.Err())
}

// takeBack makes the card as it was before an earlier run that was cut short.
func (v *verifier) takeBack(saved *note) error {
	earlier, found, err := saved.read()
	if err != nil || !found {
		return err
	}
	v.say("An earlier run was cut short: making GPU %d as it was.\n", v.card.Card)
	earlier.Card = v.card.Card // its number may be another since
	if err := v.restore(earlier); err != nil {
		return err
	}
	return saved.clear()
}

func notVerified(card string, kind error, why, next string) error {
	return &problem.Error{What: "GPU " + card + " not verified, nothing was touched", Why: problem.Because(kind, why), Next: next}
}

// mayBegin refuses a card that isn't drained, or that somebody holds or uses.
func (v *verifier) mayBegin(ctx context.Context) error {
	name := strconv.Itoa(v.card.Card)
	if !v.card.Drained {
		return notVerified(name, problem.ErrConflict, "it isn't drained, and so others could be granted it meanwhile",
			"Take it out of use first: ds01 gpu drain "+name+" --reason 'to be verified'.")
	}
	empty := apitype.MIGCard{Card: v.card.Card, UUID: v.card.UUID, Enabled: v.card.Enabled}
	for _, layout := range []apitype.MIGCard{empty, {Card: v.card.Card, UUID: v.card.UUID, Enabled: !v.card.Enabled}} {
		plan, err := v.c.PlanMIG(ctx, fileOf(layout))
		if err != nil {
			return err
		}
		for _, card := range plan.Cards {
			for _, b := range card.InTheWay {
				if !b.NeedsReset {
					return notVerified(name, problem.ErrConflict, b.Why, b.Next)
				}
			}
		}
	}
	return nil
}

// findMIGCard finds a card by its number or UUID.
func findMIGCard(ctx context.Context, c *client.Client, name string) (apitype.MIGCard, error) {
	mig, err := c.MIG(ctx)
	if err != nil {
		return apitype.MIGCard{}, err
	}
	var names []string
	for _, card := range mig.Cards {
		if card.UUID == name || strconv.Itoa(card.Card) == name {
			return card, nil
		}
		names = append(names, strconv.Itoa(card.Card))
	}
	return apitype.MIGCard{}, &problem.Error{
		What: "No card " + name, Why: problem.Because(problem.ErrNotFound, "this host has no card of that number or UUID"),
		Next: "Name one of these: " + strings.Join(names, ", ") + ".",
	}
}

func (v *verifier) say(format string, words ...any) {
	if v.tell {
		fmt.Fprintf(v.app.Out, format, words...)
	}
}
