package config

import "path/filepath"

// Mail says who sends mail to people.
type Mail struct {
	Hook string `yaml:"hook"` // absolute path of a program; empty: nobody gets mail
	User string `yaml:"user"` // whose rights it runs with
}

func (m Mail) validate() error {
	if m.Hook != "" && (!filepath.IsAbs(m.Hook) || m.Hook != filepath.Clean(m.Hook)) {
		return fault("mail.hook", "%q is no absolute path of a program, without arguments", m.Hook)
	}
	if m.User == "" || m.User == "root" {
		return fault("mail.user", "name an account without rights, such as nobody")
	}
	return nil
}
