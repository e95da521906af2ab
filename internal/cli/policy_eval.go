package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
)

func (a *app) policyEval() *cobra.Command {
	var asJSON bool
	c := a.command(spec{
		use:   "eval -- docker run …",
		short: "Explain what would become of a docker run or build",
		long: "Says what would become of a 'docker run', 'docker create' or 'docker build', yours or, for administrators,\n" +
			"somebody's: each field of the request as the engine would get it, with what set it (the request, ds01, a rule of the limits\n" +
			"file or of the site's policy), and whether it is allowed. Stock docker itself reads the command line, and\n" +
			"talks to a socket that keeps back what it asks for. Nothing is claimed, created or pulled. It ends with 0\n" +
			"where the container would be created, or the image built, else as the refusal does. A build is that of the\n" +
			"classic builder, or of BuildKit where DOCKER_BUILDKIT=1 is set; of its context only the Dockerfile is read.",
		examples: []string{"ds01 policy eval -- docker run --gpus 1 -m 8g busybox", "ds01 policy eval --user alice --json -- docker run -it -v /home/alice/x:/x busybox sh", "ds01 policy eval -- docker build -t mine ."},
		guide:    "This has docker ask for a container at a socket that leads nowhere, and the daemon explain what it would do.",
		exits:    exitsGranting(), min: 1, max: -1, json: &asJSON, raw: true,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&a.user, "user", "", "whose container it would be: the person called `NAME` (admins)")
		},
		run: func(ctx context.Context, words []string) error {
			api, err := a.client()
			if err != nil {
				return err
			}
			want, err := a.suppose(ctx, api, words)
			if err != nil {
				return err
			}
			e, err := api.EvalPolicy(ctx, want)
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(e)
			} else {
				a.writeExplanation(e)
			}
			switch {
			case err != nil || e.Allowed:
				return err
			case asJSON:
				return exitError(problem.ExitCode(problem.FromDocument(*e.Refusal)))
			}
			return problem.FromDocument(*e.Refusal)
		},
	})
	completeFlag(c, "user", a.completeUsers)
	return c
}

// suppose runs a docker command line at a socket that keeps its request back.
func (a *app) suppose(ctx context.Context, api *client.Client, words []string) (apitype.TryContainer, error) {
	verb := verbOf(words)
	if !slices.Contains([]string{"run", "create", "build"}, verb) {
		return apitype.TryContainer{}, usage("nothing to explain", fmt.Sprintf("%q doesn't begin with docker run, docker create or docker build", strings.Join(words, " ")),
			"Write it as: ds01 policy eval -- docker run …")
	}
	var said bytes.Buffer
	want, ok, err := api.As("").Supposed(ctx, func(host string) error {
		docker := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // the person's own command, with their own rights
		docker.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "DOCKER_CONTEXT=") }), "DOCKER_HOST="+host)
		if verb == "build" { // that client sends the Dockerfile by itself
			docker.Env = append(docker.Env, "DOCKER_BUILDKIT=0")
		}
		docker.Stderr = &said
		if in, ok := a.In.(*os.File); ok { // -t wants a terminal; nothing is read
			docker.Stdin = in
		}
		_, isExit := errors.AsType[*exec.ExitError](docker.Run())
		if !isExit && said.Len() == 0 {
			return errors.New("it didn't run")
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return want, ctx.Err()
	case err != nil:
		return want, &problem.Error{What: "docker was not asked", Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Is a docker client installed?"}
	case !ok && verb == "build":
		return want, usage("docker asked for no build", strings.TrimSpace(said.String()), "Correct the command line; what only BuildKit's client knows, such as --secret, leave away here.")
	case !ok:
		return want, usage("docker asked for no container", strings.TrimSpace(said.String()), "Correct the command line; --pull and --detach-keys can be left away.")
	}
	if want.Build != nil {
		want.Build.Builder = map[bool]string{true: "buildkit", false: "classic"}[byBuildKit()]
	}
	return want, nil
}

// byBuildKit reports whether the person has asked for builds by BuildKit.
func byBuildKit() bool {
	on, err := strconv.ParseBool(os.Getenv("DOCKER_BUILDKIT"))
	return on && err == nil
}

// verbOf returns what a command line asks of the engine that its environment
// names, "" where it isn't docker's: nothing may stand before the verb, such as
// -H.
func verbOf(words []string) string {
	if len(words) < 2 || filepath.Base(words[0]) != "docker" {
		return ""
	}
	verb := words[1]
	switch {
	case len(words) > 2 && verb == "container" && words[2] != "build", len(words) > 2 && verb == "image" && words[2] == "build":
		verb = words[2]
	}
	return verb
}

func (a *app) writeExplanation(e apitype.Explanation) {
	done := "created"
	if e.Build {
		done = "built"
	}
	verdict := a.paint(a.Out, green, "would be "+done)
	if !e.Allowed {
		verdict = a.paint(a.Out, red, "would not be "+done)
	}
	if e.Build {
		fmt.Fprintf(a.Out, "%s's image %s %s.\n", e.User, e.Name, verdict)
	} else {
		fmt.Fprintf(a.Out, "%s's container %s of %s %s.\n", e.User, e.Name, e.Image, verdict)
	}
	if len(e.Slots) > 0 {
		fmt.Fprintf(a.Out, "It would get the GPUs %s.\n", strings.Join(e.Slots, ", "))
	}
	var t table
	for i, f := range e.Fields {
		if i == 0 {
			t.add("FIELD", "VALUE", "SET BY")
		}
		text, err := json.Marshal(f.Value)
		if err != nil {
			text = []byte("?")
		}
		t.add(f.Field, shorten(string(text)), f.SetBy)
	}
	t.write(a.Out)
	for _, w := range e.Warnings {
		fmt.Fprintln(a.Err, a.paint(a.Err, yellow, "Warning:")+" "+w)
	}
}

// shorten keeps a value on a line; --json has it whole.
func shorten(text string) string {
	const most = 60
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}
