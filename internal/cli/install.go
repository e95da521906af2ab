package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/installer"
	"ds01.dev/ds01/internal/probe"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/systemd"
	"ds01.dev/ds01/internal/takeover"
)

// installFlags are what 'ds01 install' is asked for.
type installFlags struct {
	dryRun, yes, json, move bool
	tester                  string
}

func (a *app) install() *cobra.Command {
	var f installFlags
	var c *cobra.Command
	c = a.command(spec{
		use:   "install",
		short: "Put ds01 before this host's Docker engine (root)",
		long: "Shows each file it would change as a diff, and each thing it would do, asks, and does it step by step. The\n" +
			"engine listens for root alone afterwards, and ds01 where Docker's clients look. Containers run on. What was there\n" +
			"is kept in /var/lib/ds01/install; if a step fails, everything is put back, and 'ds01 uninstall' does so later.\n" +
			"Where it was cut off, the same command goes on. At the end 'ds01 doctor' must find nothing that fails, and a\n" +
			"member of docker-users gets a container, which is removed again. It is refused where containers would end.\n" +
			"The engine's user namespaces stay as they are: 'ds01 remap' is a step of its own.",
		examples: []string{"ds01 install --dry-run", "ds01 install", "ds01 install --move-docker-group --yes"},
		guide: "This makes every use of Docker on this host pass ds01. First you see each step and each changed file; nothing is done until you say yes. " +
			"'ds01 uninstall' takes it back.",
		exits: []int{3, 5, 6, 7, exitInterrupted}, json: &f.json,
		flags: func(set *pflag.FlagSet) {
			set.BoolVar(&f.dryRun, "dry-run", false, "show what it would do, and change nothing")
			set.BoolVar(&f.move, "move-docker-group", false, "take members out of the group docker, into docker-users and gpu-users")
			set.StringVar(&f.tester, "test-user", "", "who tries a container at the end (default: you by sudo, else a member of docker-users)")
			set.BoolVar(&f.yes, "yes", false, "do it without being asked")
		},
		run: func(ctx context.Context, _ []string) error { return a.runInstall(ctx, c.Root(), f) },
	})
	return c
}

func (a *app) runInstall(ctx context.Context, root *cobra.Command, f installFlags) error {
	wish, err := a.wish(ctx, root, f)
	if err != nil {
		return err
	}
	i, closeUnits := a.installer(wish)
	defer closeUnits()
	facts, plan, err := i.Plan(ctx)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.showPlan(plan, f.json, false)
	}
	if !f.json {
		if err := a.showPlan(plan, false, false); err != nil {
			return err
		}
	}
	if !f.yes {
		if err := a.confirm(ctx, "Do this?"); err != nil {
			return err
		}
	}
	if err := i.Install(ctx, facts, plan); err != nil {
		return a.broken(ctx, err)
	}
	if f.json {
		return a.showPlan(plan, true, true)
	}
	fmt.Fprintln(a.Out, "ds01 is installed. 'ds01 uninstall' takes it back.")
	if facts.Engine != nil {
		a.adoptable(facts.Engine.Containers)
	}
	return nil
}

// broken is what is said of an installation that failed; where it was
// interrupted, what became of it is said too.
func (a *app) broken(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	a.printError(err)
	return exitError(exitInterrupted)
}

// adoptable says how containers from before get owners.
func (a *app) adoptable(all []takeover.Container) {
	for _, c := range all {
		if c.Ours {
			continue
		}
		owner := c.Owner
		if owner == "" {
			owner = "USER"
		}
		fmt.Fprintf(a.Out, "  to adopt: ds01 container adopt %s %s\n", c.Name, owner)
	}
}

// wish gathers what is to be installed here.
func (a *app) wish(ctx context.Context, root *cobra.Command, f installFlags) (takeover.Wish, error) {
	paths, conf, err := a.installedAt()
	if err != nil {
		return takeover.Wish{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return takeover.Wish{}, fmt.Errorf("find this program: %w", err)
	}
	program, err := installer.Look(self)
	if err != nil {
		return takeover.Wish{}, fmt.Errorf("look at this program: %w", err)
	}
	_, err = os.Stat("/var/lib/dpkg/info/ds01.list")
	fromPackage := err == nil
	if fromPackage && self != installer.Program {
		return takeover.Wish{}, notInstalled("a package of ds01 is installed, and this is another ds01, "+self, "Run "+installer.Program+" install, or remove the package.")
	}
	completions, err := a.completions(root)
	if err != nil {
		return takeover.Wish{}, err
	}
	w := takeover.Wish{
		Placed: installer.Placed(program, fromPackage, Links(), completions), Unit: installer.UnitAt(fromPackage),
		Engine: paths.Engine, Gateway: paths.Gateway, Move: f.move,
		Groups: []string{conf.Groups.Docker, conf.Groups.GPU, conf.Groups.Priority, conf.Groups.Admin},
		Joined: []string{conf.Groups.Docker, conf.Groups.GPU},
	}
	w.User, err = a.tester(ctx, conf, f)
	return w, err
}

func notInstalled(why, next string) error {
	return &problem.Error{What: "ds01 is not installed", Why: problem.Because(problem.ErrConflict, why), Next: next}
}

// installedAt returns the host's own paths; only root changes what is there.
func (a *app) installedAt() (config.Paths, config.Config, error) {
	if os.Geteuid() != 0 {
		return config.Paths{}, config.Config{}, &problem.Error{What: "this host stays as it is", Why: problem.Because(problem.ErrDenied, "only root changes it"), Next: "Write sudo before it."}
	}
	if a.host != "" || a.env("DS01_HOST") != "" {
		return config.Paths{}, config.Config{}, usage("this host stays as it is", "--host or DS01_HOST names a daemon elsewhere", "Leave both away: ds01 is installed where its daemon usually is.")
	}
	return a.hostPaths()
}

// tester chooses who tries a container: somebody who may, or will once the
// members of the group docker have moved.
func (a *app) tester(ctx context.Context, conf config.Config, f installFlags) (string, error) {
	if f.tester != "" {
		if _, err := directory.LookupName(f.tester); err != nil {
			return "", &problem.Error{What: "No user " + f.tester, Why: problem.Because(problem.ErrNotFound, "the host knows no account of that name"), Next: "Name a login of this host with --test-user."}
		}
		return f.tester, nil
	}
	may := probe.Members(ctx, conf.Groups.Docker)
	if f.move {
		may = append(may, probe.Members(ctx, "docker")...)
	}
	slices.Sort(may)
	if you := a.env("SUDO_USER"); slices.Contains(may, you) {
		may = []string{you}
	}
	for _, name := range may {
		if who, err := directory.LookupName(name); err == nil && who.UID != 0 {
			return name, nil
		}
	}
	return "", nil
}

// completions returns the shells' scripts where Debian's shells look for them.
func (a *app) completions(root *cobra.Command) ([]installer.Completion, error) {
	var all []installer.Completion
	for _, s := range []struct{ shell, path string }{
		{"bash", "/usr/share/bash-completion/completions/ds01"},
		{"zsh", "/usr/share/zsh/vendor-completions/_ds01"},
		{"fish", "/usr/share/fish/vendor_completions.d/ds01.fish"},
	} {
		var text bytes.Buffer
		to := *a
		to.Out = &text
		if err := to.writeCompletion(root, s.shell); err != nil {
			return nil, err
		}
		all = append(all, installer.Completion{Path: s.path, Text: text.Bytes()})
	}
	return all, nil
}

// patient is how long the engine and the daemon may take to answer.
const patient = time.Minute

// installer returns one that changes this host, and tells each step.
func (a *app) installer(w takeover.Wish) (i *installer.Installer, closeUnits func()) {
	units := systemd.New()
	return installer.New(installer.Parts{
		Units: units, Accounts: installer.HostAccounts{}, Host: installer.Judge, Now: a.now, Patient: patient,
		Engine: func(socket string) (installer.Engine, error) { return docker.New(socket) },
		Doctor: func(ctx context.Context) ([]apitype.Check, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			found, err := c.Doctor(ctx)
			return found.Checks, err
		},
		Try: func(ctx context.Context, user, gateway, engine string) error {
			return installer.Try(ctx, directory.LookupName, user, gateway, engine)
		},
		Spare: installer.StartSpare, Record: a.recordVolumes,
		Tell: func(text string) { fmt.Fprintln(a.Err, "  "+text) },
		Begin: func(s takeover.Step) {
			if name := linked(s); name == "" || name == Links()[0] {
				fmt.Fprintln(a.Err, "→ "+s.String())
			}
		},
	}, w), func() { _ = units.Close() }
}

// showPlan prints a plan for people, or as one document.
func (a *app) showPlan(p takeover.Plan, asJSON, done bool) error {
	if asJSON {
		p.Steps, p.Notes = list(p.Steps), list(p.Notes)
		return a.printJSON(struct {
			Done bool `json:"done"`
			takeover.Plan
		}{done, p})
	}
	for n := 0; n < len(p.Steps); n++ {
		s := p.Steps[n]
		if names := linksFrom(p.Steps[n:]); len(names) > 1 {
			verb := "link to ds01"
			if s.Then.Kind == takeover.Absent {
				verb = "remove links to ds01"
			}
			fmt.Fprintf(a.Out, "%2d–%d. %s in /usr/bin: %s\n", n+1, n+len(names), verb, strings.Join(names, " "))
			n += len(names) - 1
			continue
		}
		fmt.Fprintf(a.Out, "%2d. %s\n", n+1, s)
		a.showDiff(s.Diff)
		a.showImages(s.Images)
	}
	for _, note := range p.Notes {
		fmt.Fprintln(a.Out, "Note: "+strings.TrimSpace(wrapText(note, "      ")))
	}
	return nil
}

// showImages lists what a step copies.
func (a *app) showImages(all []takeover.Image) {
	for n, one := range all {
		if n == mostLines {
			fmt.Fprintf(a.Out, "      … %d images more; --json has them all\n", len(all)-n)
			return
		}
		name := strings.Join(one.Names, " ")
		if name == "" {
			name = one.ID + ", without a name"
		}
		fmt.Fprintf(a.Out, "      %8s  %s\n", quantity.ByteSize(one.Bytes).Rounded(), name)
	}
}

// linksFrom returns the names of ds01's that the first steps all make, or all
// remove.
func linksFrom(steps []takeover.Step) []string {
	var names []string
	for _, s := range steps {
		name := linked(s)
		if name == "" || s.Then.Kind != steps[0].Then.Kind {
			break
		}
		names = append(names, name)
	}
	return names
}

// linked returns the name of ds01's that a step makes or removes, "" for
// another step.
func linked(s takeover.Step) string {
	name, ok := strings.CutPrefix(s.Path, "/usr/bin/")
	if made := s.Now.Kind == takeover.Absent && s.Then.Target == "ds01"; ok && (made || s.Then.Kind == takeover.Absent && s.Now.Target == "ds01") {
		return name
	}
	return ""
}

// How much of a diff is shown of a file that is changed, and of one that
// wasn't there.
const (
	mostLines    = 40
	mostNewLines = 12
)

func (a *app) showDiff(diff string) {
	all := slices.Collect(strings.Lines(diff))
	most := mostLines
	if strings.HasPrefix(diff, "--- /dev/null") {
		most = mostNewLines
	}
	for n, line := range all {
		if n == most {
			fmt.Fprintf(a.Out, "      … %d lines more; --json has them all\n", len(all)-n)
			return
		}
		colour := map[byte]string{'+': green, '-': red}[line[0]]
		fmt.Fprintln(a.Out, "      "+a.paint(a.Out, colour, strings.TrimSuffix(line, "\n")))
	}
}
