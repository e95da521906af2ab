package cli

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"ds01.dev/ds01/internal/apitype"
)

func TestWhereTheCallersDockerAsks(t *testing.T) {
	home := t.TempDir()
	write := func(path, text string) {
		full := filepath.Join(home, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("used/config.json", `{"currentContext":"lab"}`)
	write("used/contexts/meta/"+fmt.Sprintf("%x", sha256.Sum256([]byte("lab")))+"/meta.json", `{"Name":"lab","Endpoints":{"docker":{"Host":"ssh://other"}}}`)
	write("lost/config.json", `{"currentContext":"gone"}`)
	write("default/config.json", `{"currentContext":"default"}`)
	write("broken/config.json", `{`)
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"nothing is set":             {nil, "unix:///run/docker.sock"},
		"the variable":               {map[string]string{"DOCKER_HOST": "tcp://x:2375"}, "tcp://x:2375"},
		"the variable over contexts": {map[string]string{"DOCKER_HOST": "tcp://x:2375", "DOCKER_CONFIG": home + "/used"}, "tcp://x:2375"},
		"a context in use":           {map[string]string{"DOCKER_CONFIG": home + "/used"}, "ssh://other"},
		"a context by the variable":  {map[string]string{"DOCKER_CONFIG": home + "/used", "DOCKER_CONTEXT": "default"}, "unix:///run/docker.sock"},
		"a context that is lost":     {map[string]string{"DOCKER_CONFIG": home + "/lost"}, "the context gone"},
		"the default context":        {map[string]string{"DOCKER_CONFIG": home + "/default"}, "unix:///run/docker.sock"},
		"a file that is broken":      {map[string]string{"DOCKER_CONFIG": home + "/broken"}, "unix:///run/docker.sock"},
	} {
		a := &app{env: func(key string) string { return c.env[key] }}
		if got := a.dockerHost(); got != c.want {
			t.Errorf("%s: docker asks at %s, want %s", name, got, c.want)
		}
	}
}

func TestADockerThatAsksElsewhereIsToldSo(t *testing.T) {
	for host, want := range map[string]string{
		"unix:///run/docker.sock": apitype.CheckOK, "unix:///var/run/docker.sock": apitype.CheckOK,
		"unix:///run/user/1000/docker.sock": apitype.CheckWarn, "tcp://127.0.0.1:2375": apitype.CheckWarn, "ssh://other": apitype.CheckWarn,
	} {
		if got := judgeClient(host, "/run/docker.sock"); got.Result != want {
			t.Errorf("%s: %+v, want %s", host, got, want)
		}
	}
}
