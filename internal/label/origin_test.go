package label_test

import (
	"testing"

	"ds01.dev/ds01/internal/label"
)

func TestOriginOf(t *testing.T) {
	const session, manager = "/user.slice/user-1001.slice/session-3.scope", "/user.slice/user-1001.slice/user@1001.service"
	line := func(own bool, programs ...string) []label.Process {
		all := []label.Process{{Terminal: own}}
		for _, p := range programs {
			all = append(all, label.Process{Program: p})
		}
		return all
	}
	terminal, sshd := line(true), line(false, "/usr/sbin/sshd", "/usr/lib/systemd/systemd")
	for name, c := range map[string]struct {
		traces label.Traces
		want   string
	}{
		"a shell through ssh":                       {label.Traces{Group: session, Line: line(true, "/usr/sbin/sshd", "/usr/lib/systemd/systemd"), Session: true}, label.Terminal},
		"a shell through ssh, without systemd":      {label.Traces{Line: line(true, "/usr/sbin/sshd", "/usr/lib/systemd/systemd")}, label.Terminal},
		"a shell through an sshd that was upgraded": {label.Traces{Line: line(true, "/usr/sbin/sshd (deleted)")}, label.Terminal},
		"su -c in a shell through ssh":              {label.Traces{Group: session, Line: []label.Process{{}, {}, {Terminal: true}, {Program: "/usr/sbin/sshd"}}}, label.Terminal},
		"ssh from a server at a terminal":           {label.Traces{Line: []label.Process{{}, {Program: "/usr/sbin/sshd"}, {Terminal: true}}}, label.SSHCommand},
		"a command through ssh":                     {label.Traces{Group: session, Line: sshd, Session: true}, label.SSHCommand},
		"a command through a newer ssh":             {label.Traces{Group: "/", Line: line(false, "/usr/lib/openssh/sshd-session", "/usr/sbin/sshd")}, label.SSHCommand},
		"an editor's server that left its ssh":      {label.Traces{Group: session, Session: true}, label.SSHCommand},
		"a command through ssh without PAM":         {label.Traces{Group: "/system.slice/ssh.service"}, label.SSHCommand},
		"a shell through a socket's ssh, no PAM":    {label.Traces{Group: "/system.slice/ssh@7-10.0.0.1:22-10.0.0.9:40.service", Line: terminal}, label.Terminal},
		"a shell through Red Hat's ssh without PAM": {label.Traces{Group: "/system.slice/sshd.service", Line: terminal}, label.Terminal},
		"tmux after its ssh ended":                  {label.Traces{Group: session, Line: terminal, Session: true}, label.Terminal},
		"tmux without systemd":                      {label.Traces{Line: terminal}, label.Terminal},
		"tmux in a scope of its own":                {label.Traces{Group: manager + "/tmux-spawn-1.scope", Line: terminal}, label.Terminal},
		"a desktop's program":                       {label.Traces{Group: manager + "/app.slice/app-code.scope"}, label.Service},
		"the console":                               {label.Traces{Group: "/system.slice/system-getty.slice/getty@tty1.service", Line: terminal}, label.Terminal},
		"cron":                                      {label.Traces{Group: "/system.slice/cron.service", Line: line(false, "/usr/sbin/cron")}, label.Cron},
		"cron, with a session and a terminal":       {label.Traces{Group: session, Line: line(true, "/usr/sbin/crond"), Session: true}, label.Cron},
		"cron without systemd":                      {label.Traces{Group: "/", Line: line(false, "/usr/sbin/cron"), Session: true}, label.Cron},
		"what a job of cron's left running":         {label.Traces{Group: "/system.slice/cron.service"}, label.Cron},
		"a command through ssh that cron started":   {label.Traces{Group: session, Line: line(false, "/usr/sbin/sshd", "/usr/sbin/cron")}, label.SSHCommand},
		"at":                                         {label.Traces{Group: "/system.slice/atd.service", Line: line(false, "/usr/sbin/atd")}, label.At},
		"what a job of at's left running":            {label.Traces{Group: "/system.slice/atd.service"}, label.At},
		"a timer of the system's":                    {label.Traces{Group: "/system.slice/train.service", Timer: true}, label.Timer},
		"a timer of somebody's":                      {label.Traces{Group: manager + "/app.slice/train.service", Timer: true}, label.Timer},
		"a service of the system's":                  {label.Traces{Group: "/system.slice/train.service", Line: line(false, "/usr/lib/systemd/systemd")}, label.Service},
		"a service of the system's with a terminal":  {label.Traces{Group: "/system.slice/train.service", Line: terminal}, label.Service},
		"a service of somebody's":                    {label.Traces{Group: manager + "/app.slice/train.service"}, label.Service},
		"a service of somebody's, called like cron":  {label.Traces{Group: manager + "/app.slice/cron.service"}, label.Service},
		"a group below a service, called like cron":  {label.Traces{Group: "/system.slice/train.service/cron.service"}, label.Service},
		"a service of the system's below user.slice": {label.Traces{Group: "/user.slice/train.service"}, label.Service},
		"nothing at all":                             {label.Traces{}, label.Service},
		"a login that left everything behind":        {label.Traces{Session: true}, label.SSHCommand},
	} {
		t.Run(name, func(t *testing.T) {
			if got := label.OriginOf(c.traces); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
