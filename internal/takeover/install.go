package takeover

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// Paths of the host that an installation touches beside what is placed.
const (
	Daemon        = "/etc/docker/daemon.json"
	SocketDropIn  = "/etc/systemd/system/docker.socket.d/ds01.conf"
	ServiceDropIn = "/etc/systemd/system/docker.service.d/ds01.conf"
	Wanted        = "/etc/systemd/system/multi-user.target.wants/ds01.service"

	dockerService = "docker.service"
	dockerSocket  = "docker.socket"
	ds01Service   = "ds01.service"
	usualSocket   = "/run/docker.sock"
	oldGroup      = "docker"
)

// A Placed file belongs to ds01.
type Placed struct {
	Path string
	File File
	Why  string
	// Theirs stays whatever it is, if it is there: a configuration. Without it
	// what is there is replaced, but a name that leads to another program isn't.
	Theirs bool
	// Driver is who has to make the engine's control groups for the file to be of
	// use; "" is anybody.
	Driver string
}

// A Wish is what an administrator asks for.
type Wish struct {
	Placed  []Placed
	Unit    string   // ds01.service's file
	Engine  string   // where the engine is to listen, a path
	Gateway string   // where ds01 listens
	Groups  []string // that ds01 asks for
	Joined  []string // of these, those that former members of the group docker join
	Move    bool     // they do
	User    string   // who tries a container, "" = nobody can
}

// Observed lists the paths that Install has to know of.
func (w Wish) Observed() []string {
	all := []string{Daemon, SocketDropIn, Wanted, SubUID, SubGID}
	for _, p := range w.Placed {
		all = append(all, p.Path)
	}
	return append(all, old()...)
}

// Install plans the steps from what is there to a host on which ds01 stands
// before the engine. It is refused, with every reason, where containers would
// end, where the engine can be reached otherwise, or where 'ds01 doctor' would
// fail afterwards for what isn't ds01's to change.
func Install(f Facts, w Wish) (Plan, error) {
	if err := refuse(f, w); err != nil {
		return Plan{}, err
	}
	var p Plan
	for _, one := range w.Placed {
		p.place(f, one)
	}
	p.groups(f, w)
	settings, notes, err := Settings(f.Files[Daemon].Text, f.Docker.Command)
	if err != nil {
		return Plan{}, unreadable(err)
	}
	p.Notes = append(p.Notes, notes...)
	p.engine(f, w, settings)
	p.service(f, w)
	p.notes(f, w)
	return p, nil
}

// place puts one of ds01's files.
func (p *Plan) place(f Facts, one Placed) {
	now := f.Files[one.Path]
	_, ours := f.Before.touched(one.Path)
	switch {
	case one.Theirs && now.Kind != Absent:
		return
	case one.Driver != "" && (f.Engine == nil || f.Engine.Driver != one.Driver):
		return
	case one.File.Kind == Symlink && now.Kind != Absent && !now.Same(one.File) && !ours:
		p.Notes = append(p.Notes, fmt.Sprintf("%s is another program's and stays: type 'ds01 …' for that command.", one.Path))
		return
	}
	p.put(one.Path, now, one.File, one.Why)
}

// groups makes the groups that aren't there, and moves the members of docker's.
func (p *Plan) groups(f Facts, w Wish) {
	for _, g := range w.Groups {
		if _, ok := f.Groups[g]; !ok {
			p.add(Step{Do: AddGroup, Group: g, Why: "ds01 asks for it"})
		}
	}
	if len(f.Members) == 0 {
		return
	}
	who := strings.Join(f.Members, ", ")
	if !w.Move {
		p.Notes = append(p.Notes, fmt.Sprintf("In the group docker: %s. They reach no engine by it any more, and no container through ds01 until they are in %s; --move-docker-group moves them.", who, strings.Join(w.Joined, " and ")))
		return
	}
	for _, user := range f.Members {
		for _, g := range w.Joined {
			if !slices.Contains(f.Groups[g], user) {
				p.add(Step{Do: Join, User: user, Group: g, Why: "was in the group docker"})
			}
		}
		p.add(Step{Do: Leave, User: user, Group: oldGroup, Why: "whom an engine lets in by it is root"})
	}
}

// engine has the engine listen for root alone, without ending a container: it
// is told to let them run on before it is stopped.
func (p *Plan) engine(f Facts, w Wish, settings []byte) {
	before := len(p.Steps)
	now := f.Files[Daemon]
	then := Content(settings)
	if now.Kind == Regular {
		then.Mode, then.UID, then.GID = now.Mode, now.UID, now.GID
	}
	p.put(Daemon, now, then, "containers outlive a restart of the engine")
	if f.Docker.Active && (len(p.Steps) > before || f.Engine == nil || !f.Engine.LiveRestore) {
		p.add(Step{Do: Reload, Unit: dockerService, Why: "it reads daemon.json again"})
	}
	if f.Docker.Active {
		p.add(Step{Do: CheckLive, Why: "else its restart would end containers"})
	}
	p.put(SocketDropIn, f.Files[SocketDropIn], Content(dropIn(w.Engine)), "the engine listens for root alone")
	units := slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Do == Put && strings.HasPrefix(s.Path, dropIns) })
	if units || f.unfinished() || !f.Docker.Active || !f.Socket.Active || f.At != w.Engine {
		p.add(Step{Do: ReadUnits})
		p.add(Step{Do: Stop, Unit: dockerSocket, Why: "containers run on; docker exec, attach, logs -f and builds break off"})
		p.add(Step{Do: Stop, Unit: dockerService})
		p.add(Step{Do: Start, Unit: dockerSocket})
		p.add(Step{Do: Start, Unit: dockerService})
	}
	p.add(Step{Do: CheckMoved, Path: w.Engine})
}

// dropIns is how the paths of Docker's drop-ins begin.
const dropIns = "/etc/systemd/system/docker."

func dropIn(engine string) []byte {
	return []byte("# Written by 'ds01 install': the engine listens for root alone, ds01 at " + usualSocket + ".\n" +
		"[Socket]\n" +
		"ListenStream=\n" + // not where the unit says
		"ListenStream=" + engine + "\nSocketMode=0600\nSocketUser=root\nSocketGroup=root\nDirectoryMode=0755\n")
}

// changes reports whether a path is put.
func (p *Plan) changes(path string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Do == Put && s.Path == path })
}

// service starts ds01 now and at each boot, and tries it.
func (p *Plan) service(f Facts, w Wish) {
	p.put(Wanted, f.Files[Wanted], Link(w.Unit), "ds01 starts when the host does")
	changed := f.unfinished() || slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Do == Put })
	if changed || !f.Ds01.Active {
		p.add(Step{Do: ReadUnits})
	}
	if changed && f.Ds01.Active {
		p.add(Step{Do: Stop, Unit: ds01Service, Why: "what has changed takes effect; containers run on"})
	}
	if changed || !f.Ds01.Active {
		p.add(Step{Do: Start, Unit: ds01Service})
	}
	p.add(Step{Do: CheckDs01})
	if w.User != "" {
		p.add(Step{Do: CheckRun, User: w.User})
	} else {
		p.Notes = append(p.Notes, "No container is tried: nobody is in "+w.Joined[0]+" yet. --test-user NAME names who tries one.")
	}
}

// old lists traces of the deployment of shell scripts that ds01 replaces.
func old() []string {
	return []string{
		"/opt/ds01-infra", "/usr/local/bin/docker", "/usr/local/bin/container-list", "/etc/profile.d/ds01-docker-group.sh", "/etc/profile.d/ds01-path.sh",
		"/etc/cron.d/ds01-maintenance", "/etc/systemd/system/ds01.slice", "/etc/opa/docker",
	}
}

// notes say what an administrator should know that isn't a step.
func (p *Plan) notes(f Facts, w Wish) {
	var names, dead []string
	if f.Engine != nil {
		for _, c := range f.Engine.Containers {
			if !c.Ours {
				names = append(names, c.Name)
			}
			if slices.ContainsFunc(c.Sources, func(s string) bool { return strings.TrimPrefix(s, "/var") == usualSocket }) {
				dead = append(dead, c.Name)
			}
		}
	}
	if len(names) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("Containers from before: %s. They go on; administrators alone see them, and their GPUs count as taken, until each has an owner: ds01 container adopt CONTAINER USER.", strings.Join(names, ", ")))
	}
	if len(dead) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("The engine's socket is mounted in: %s. It is dead there afterwards; make them again with a mount of %s.", strings.Join(dead, ", "), w.Engine))
	}
	if p.changes(Daemon) && len(f.Engine.Running()) > 0 {
		p.Notes = append(p.Notes, `"icc" of daemon.json takes effect when the engine starts while no container runs; 'ds01 doctor' warns until then.`)
	}
	var traces []string
	for _, t := range old() {
		if f.Files[t].Kind != Absent {
			traces = append(traces, t)
		}
	}
	if len(traces) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("Of an older deployment: %s. They stay as they are; docs/admins/install.md says what to switch off, and when.", strings.Join(traces, ", ")))
	}
}

// refuse gathers every reason against the installation.
func refuse(f Facts, w Wish) error {
	if !f.Docker.Loaded || !f.Socket.Loaded {
		return refusal("this host has no docker.service and docker.socket of systemd", "Install Docker's engine from its distribution's packages; an engine that is started otherwise needs docs/admins/configuration.md, by hand.")
	}
	if f.Remap != nil && !f.Remap.Whole {
		return refusal("the switch to remapped user namespaces was cut off", "Run 'ds01 remap', which goes on with it, or 'ds01 remap --undo'.")
	}
	var all []error
	for _, one := range []func(Facts, Wish) error{refuseSocket, refuseCommand, refuseSettings, refuseSwarm, refuseKill, refuseNeeded} {
		if err := one(f, w); err != nil {
			all = append(all, err)
		}
	}
	for _, c := range f.Checks {
		if c.Result == apitype.CheckFail && !cured(c) {
			all = append(all, refusal("'ds01 doctor' would fail: "+c.Name+": "+c.Detail, c.Next))
		}
	}
	return errors.Join(all...)
}

// cured reports whether the installation does away with a failure.
func cured(c apitype.Check) bool {
	return c.Name == "default runtime" || c.Name == "engine sockets" && (strings.Contains(c.Detail, " at "+usualSocket+" ") || strings.Contains(c.Detail, " at /var"+usualSocket+" "))
}

func refusal(why, next string) error {
	return &problem.Error{What: "ds01 is not installed", Why: problem.Because(problem.ErrConflict, why), Next: next}
}

func unreadable(err error) error {
	return refusal(Daemon+" can't be read: "+err.Error(), "Correct it; dockerd says what it takes.")
}

func refuseSocket(f Facts, w Wish) error {
	for _, l := range f.Socket.Listens {
		if l != w.Engine && strings.TrimPrefix(l, "/var") != usualSocket {
			return refusal("docker.socket listens at "+l+", past ds01", "Take it out of the unit: systemctl cat docker.socket shows where it is written.")
		}
	}
	return nil
}

// refuseCommand refuses an engine whose words decide what ds01 has to.
func refuseCommand(f Facts, _ Wish) error {
	for i, word := range f.Docker.Command {
		name, value, has := strings.Cut(word, "=")
		if name != "-H" && name != "--host" && (!strings.HasPrefix(word, "-H") || len(word) == 2) {
			continue
		}
		switch {
		case strings.HasPrefix(word, "-H") && len(word) > 2 && !has:
			value = word[2:]
		case !has && i+1 < len(f.Docker.Command):
			value = f.Docker.Command[i+1]
		}
		if value != "fd://" {
			return refusal("the engine is started with "+name+" "+value+", so that it listens past ds01", "Leave only '-H fd://' on its command line: systemctl cat docker.service, and /etc/default/docker.")
		}
	}
	if file, ok := valueOf(f.Docker.Command, "config-file"); ok && file != Daemon {
		return refusal("the engine reads its settings from "+file, "Let it read "+Daemon+": take --config-file out of docker.service.")
	}
	if on, ok := valueOf(f.Docker.Command, "live-restore"); ok && on == "false" {
		return refusal("the engine is started with --live-restore=false, so that its restart ends containers", "Take it out of docker.service.")
	}
	if len(f.Docker.Command) > 0 && !slices.ContainsFunc(f.Docker.Command, func(w string) bool { return strings.HasSuffix(w, "fd://") }) {
		return refusal("the engine doesn't get its socket from docker.socket", "Start it with '-H fd://', as the packages of Docker do: systemctl revert docker.service shows what was changed.")
	}
	return nil
}

func refuseSettings(f Facts, _ Wish) error {
	now := f.Files[Daemon]
	if now.Kind != Absent && now.Kind != Regular {
		return refusal(Daemon+" is a link, or no file", "Put the file itself there: its changes are ds01's to make and to undo.")
	}
	if len(strings.TrimSpace(string(now.Text))) == 0 {
		return nil
	}
	all, err := members(now.Text)
	if err != nil {
		return unreadable(err)
	}
	if i := index(all, "hosts"); i >= 0 {
		return refusal(fmt.Sprintf(`"hosts" is set in %s, to %s: the engine listens past ds01`, Daemon, all[i].value), "Take it out, and let docker.socket listen.")
	}
	return nil
}

func refuseSwarm(f Facts, _ Wish) error {
	if f.Engine == nil || !f.Engine.Swarm {
		return nil
	}
	return refusal("the engine is part of a swarm: containers end when it restarts, and services are made past ds01", "docker swarm leave, and start what ran as services otherwise.")
}

// refuseKill refuses where systemd would end containers with the engine.
func refuseKill(f Facts, _ Wish) error {
	if k := f.Docker.KillMode; len(f.Engine.Running()) == 0 || k == "" || k == "process" || k == "none" {
		return nil
	}
	return refusal(fmt.Sprintf("docker.service has KillMode=%s, so that stopping it ends %d running containers", f.Docker.KillMode, len(f.Engine.Running())),
		"Set KillMode=process in it, as the packages of Docker do: systemctl edit docker.service.")
}

func refuseNeeded(f Facts, w Wish) error {
	if f.Engine == nil || f.At == w.Engine {
		return nil
	}
	var needed []string
	for _, u := range slices.Concat(f.Docker.Needed, f.Socket.Needed) {
		if u != dockerService && u != ds01Service && !slices.Contains(needed, u) {
			needed = append(needed, u)
		}
	}
	if len(needed) == 0 {
		return nil
	}
	return refusal("with the engine these units stop: "+strings.Join(needed, ", "), "Stop them first, and start them again afterwards: systemctl stop "+strings.Join(needed, " ")+".")
}

// folderOf returns the folders above a path, those above first.
func folderOf(file string) []string {
	var all []string
	for dir := path.Dir(file); dir != "/" && dir != "."; dir = path.Dir(dir) {
		all = append(all, dir)
	}
	slices.Reverse(all)
	return all
}
