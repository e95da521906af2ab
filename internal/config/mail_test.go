package config_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/config"
)

func TestMail(t *testing.T) {
	if m := config.Default().Mail; m.Hook != "" || m.User != "nobody" {
		t.Errorf("by default: %+v", m)
	}
	c, err := config.Decode("ds01.yaml", []byte("version: 1\nmail: {hook: /usr/sbin/sendmail, user: mail}\n"))
	if err != nil || c.Mail != (config.Mail{Hook: "/usr/sbin/sendmail", User: "mail"}) {
		t.Errorf("got %+v, %v", c.Mail, err)
	}
	for text, why := range map[string]string{
		"{hook: sendmail}": "mail.hook", "{hook: /usr/../tmp/x}": "mail.hook", "{user: root}": "mail.user", "{user: ''}": "mail.user",
		"{hook: /bin/x, args: [-t]}": "args",
	} {
		_, err := config.Decode("ds01.yaml", []byte("version: 1\nmail: "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
