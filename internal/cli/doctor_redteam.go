package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/redteam"
)

// redTeamFlags are what 'doctor --red-team' asks for.
type redTeamFlags struct {
	on    bool
	user  string // who attacks; root has to say
	image string // local image with sh; "": the configured default
	only  string // vectors whose names begin so
}

// redTeam attacks this host's gateway and prints what came of it.
func (a *app) redTeam(ctx context.Context, f redTeamFlags, asJSON bool) error {
	stage, err := a.redTeamStage(f)
	if err != nil {
		return err
	}
	o := redteam.Options{Chosen: func(v redteam.Vector) bool { return strings.HasPrefix(v.ID, f.only) }}
	if !asJSON {
		o.Tell = func(r redteam.Result) { a.writeResult(r) }
	}
	report, err := redteam.Run(ctx, stage, o)
	if err != nil {
		return err
	}
	if asJSON {
		report.Results = list(report.Results)
		err = a.printJSON(report)
	} else {
		writeSummary(a.Out, report)
	}
	if err == nil && report.Effects > 0 {
		return exitError(exitFailed)
	}
	return err
}

// redTeamStage says who attacks what. Root attacks as somebody else, with
// itself as the victim, and looks at everything; anybody else is the attacker
// and has no victim.
func (a *app) redTeamStage(f redTeamFlags) (redteam.Stage, error) {
	paths, conf, err := a.hostPaths()
	if err != nil {
		return redteam.Stage{}, err
	}
	stage := redteam.Stage{
		GatewaySocket: paths.Gateway, APISocket: paths.APISocket, MountFolder: paths.RunDir,
		Image: conf.Images.Default, Now: a.now,
	}
	if f.image != "" {
		stage.Image = f.image
	}
	if stage.Image == "" {
		return stage, usage("red team not started", "no default image is configured", "Name a local image that has sh: --image busybox.")
	}
	if os.Geteuid() == 0 {
		return rootStage(stage, paths, f.user)
	}
	if f.user != "" {
		return stage, usage("red team not started", "only root attacks as somebody else", "Leave --user away to attack as yourself, or run it with sudo.")
	}
	self, err := directory.Lookup(os.Geteuid())
	if err != nil {
		return stage, fmt.Errorf("who you are: %w", err)
	}
	stage.Attacker = attacker(self)
	return stage, nil
}

func rootStage(stage redteam.Stage, paths config.Paths, user string) (redteam.Stage, error) {
	if user == "" {
		return stage, usage("red team not started", "root is attacked, and somebody else has to attack", "Name an account that may use containers and doesn't administer: --user NAME.")
	}
	who, err := directory.LookupName(user)
	if err != nil {
		return stage, &problem.Error{What: "No user " + user, Why: problem.Because(problem.ErrNotFound, "the host knows no account of that name"), Next: "Name a login of this host."}
	}
	if who.UID == 0 {
		return stage, usage("red team not started", "root can't attack itself", "Name an account that doesn't administer.")
	}
	stage.EngineSocket, stage.Attacker = paths.Engine, attacker(who)
	stage.Victim = &redteam.Person{Login: "root"}
	return stage, nil
}

func attacker(a account.Account) redteam.Person {
	p := redteam.Person{UID: a.UID, GID: a.GID, Login: a.Name, Home: a.Home}
	for _, g := range a.Groups {
		p.Groups = append(p.Groups, g.GID)
	}
	return p
}

// hostPaths finds the sockets of the daemon that --host or DS01_HOST names.
func (a *app) hostPaths() (config.Paths, config.Config, error) {
	host := a.host
	if host == "" {
		host = a.env("DS01_HOST")
	}
	if host == "" {
		host = client.DefaultHost
	}
	root, ok := strings.CutSuffix(strings.TrimPrefix(host, "unix://"), strings.TrimPrefix(client.DefaultHost, "unix://"))
	if !ok {
		return config.Paths{}, config.Config{}, usage("red team not started", fmt.Sprintf("%q isn't below a daemon's root", host), "Write it as unix://ROOT/run/ds01/ds01.sock.")
	}
	paths, conf := config.PathsUnder(root), config.Default()
	data, err := os.ReadFile(paths.Config)
	if err == nil {
		if conf, err = config.Decode(paths.Config, data); err != nil {
			return paths, conf, err
		}
	}
	return paths.Sockets(conf, root), conf, nil // a file that can't be read is taken for the defaults
}

func (a *app) writeResult(r redteam.Result) {
	colours := map[redteam.Verdict]string{redteam.OK: green, redteam.Effect: red, redteam.Odd: yellow}
	fmt.Fprintf(a.Out, "%s  %-34s %s\n", a.paint(a.Out, colours[r.Verdict], fmt.Sprintf("%-9s", r.Verdict)), r.ID, r.Says)
	for _, line := range append(slices.Clone(r.Effects), r.Why) {
		if line != "" {
			fmt.Fprintln(a.Out, "           → "+line)
		}
	}
}

func writeSummary(w io.Writer, r redteam.Report) {
	fmt.Fprintf(w, "%d vectors, %d tried, %d passed, effects = %d\n", r.Vectors, r.Tried, r.Passed, r.Effects)
	if r.Effects > 0 {
		fmt.Fprintln(w, "Something came of an attack: keep people off this host until it is closed, and report it.")
	}
}
