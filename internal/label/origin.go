package label

import (
	"slices"
	"strings"
)

// Origins: what somebody did that ended in a container.
const (
	Terminal   = "terminal"    // they sat at one
	SSHCommand = "ssh-command" // a command through ssh, an editor's or docker's among them
	Cron       = "cron"
	At         = "at"
	Timer      = "timer"   // a service that a systemd timer started
	Service    = "service" // what else runs by itself
)

// Traces are what the kernel shows of the process that asked for a container.
type Traces struct {
	// Group is the control group that systemd has put it in; "" or "/": there is no
	// systemd.
	Group string
	// Line is the process itself and those that it descends from, the nearest first.
	Line    []Process
	Session bool // somebody had logged in before it, by the kernel's audit
	Timer   bool // the service that it belongs to was started by a timer
}

// A Process is one in a line of descent.
type Process struct {
	Program  string // its file, if that is a Starter which root runs, else ""
	Terminal bool   // it has a controlling terminal
}

// OriginOf tells by its traces where a request came from. A program of root's
// that it descends from has the first word: nobody can make one up. Who left
// theirs behind is told by the unit, which takes root to change.
func OriginOf(t Traces) string {
	login := SSHCommand
	for _, p := range t.Line {
		if origin := originOfProgram(p.Program, login); origin != "" {
			return origin
		}
		if p.Terminal { // "su -c" and its like leave it to those that started them
			login = Terminal
		}
	}
	if units := unitsOf(t.Group); len(units) > 0 {
		return originOfUnits(units, t.Timer, login)
	}
	if login == Terminal || t.Session {
		return login
	}
	return Service
}

// Starter reports whether a file is a program that starts others for people.
func Starter(file string) bool { return originOfProgram(file, Terminal) != "" }

// originOfProgram knows programs that start others for people.
func originOfProgram(file, login string) string {
	switch name := strings.TrimSuffix(file[strings.LastIndex(file, "/")+1:], " (deleted)"); name { // it was upgraded
	case "cron", "crond", "anacron":
		return Cron
	case "atd":
		return At
	case "sshd", "sshd-session", "dropbear":
		return login
	}
	return ""
}

// unitsOf returns the units in a group's path that systemd runs processes in,
// the outermost first.
func unitsOf(group string) []string {
	return slices.DeleteFunc(strings.Split(group, "/"), func(part string) bool {
		return !strings.HasSuffix(part, ".service") && !strings.HasSuffix(part, ".scope")
	})
}

// originOfUnits judges by the outermost unit, since below it somebody may have
// made groups of their own: people have one for what they started themselves,
// in which the next tells.
func originOfUnits(units []string, timer bool, login string) string {
	name, service := strings.CutSuffix(units[0], ".service")
	name, _, _ = strings.Cut(name, "@")
	switch {
	case !service: // a session
		return login
	case name == "user" && len(units) > 1 && strings.HasSuffix(units[1], ".scope") && login == Terminal:
		return Terminal
	case name == "getty", name == "serial-getty", name == "console-getty", name == "container-getty":
		return Terminal
	case name == "ssh":
		return login
	}
	if origin := originOfProgram(name, login); origin != "" {
		return origin
	}
	if timer {
		return Timer
	}
	return Service
}
