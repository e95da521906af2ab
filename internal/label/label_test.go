package label_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/label"
)

func TestReserved(t *testing.T) {
	for key, want := range map[string]bool{
		"aime.mlc": true, "aime.mlc.NAME": true, "AIME.MLC.user": true, "aime.mlcx": true, "ds01.managed": true, "DS01.x": true, "ds01": true,
		"": false, "aime": false, "aime.ml": false, "team": false, "com.docker.compose.project": false, "x.ds01": false, "my.aime.mlc": false,
	} {
		if got := label.Reserved(key); got != want {
			t.Errorf("%q: %t", key, got)
		}
	}
	for _, ours := range []string{
		label.Login, label.User, label.Name, label.Framework, label.Arch, label.Version, label.WorkMount, label.DataMount, label.ModelsMount,
		label.GPUs, label.Managed, label.UID, label.Interface, label.Origin, label.Protected, label.Created, label.Claim, label.GPUUUIDs, label.GPUSlots,
	} {
		if !label.Reserved(ours) {
			t.Errorf("anybody may write %s", ours)
		}
	}
}

func TestCleanLeavesNothingThatBreaksAList(t *testing.T) {
	if got := label.Clean("a, b,\tc\n\x7f=d ü"); got != "a; b;c=d ü" {
		t.Errorf("got %q", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "value")
		clean := label.Clean(text)
		if strings.ContainsAny(clean, ",\n\r\t\x00\x7f") || label.Clean(clean) != clean {
			t.Fatalf("%q became %q", text, clean)
		}
		if !strings.ContainsAny(text, ",\x7f") && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == '\ufffd' }) && clean != text {
			t.Fatalf("%q needed no change and became %q", text, clean)
		}
	})
}

func TestInterfaceOf(t *testing.T) {
	for name, c := range map[string]struct {
		labels map[string]string
		want   string
	}{
		"nothing":                         {nil, label.Docker},
		"labels of an image":              {map[string]string{"maintainer": "x", "version": "1"}, label.Docker},
		"a Dev Container":                 {map[string]string{"devcontainer.metadata": `[{"a":1}]`}, label.DevContainer},
		"a Dev Container made by compose": {map[string]string{"devcontainer.local_folder": "/a", "com.docker.compose.project": "a"}, label.DevContainer},
		"compose by project":              {map[string]string{"com.docker.compose.project": "myapp"}, label.Compose},
		"compose by service":              {map[string]string{"com.docker.compose.service": "web"}, label.Compose},
		"AIME's mlc":                      {map[string]string{label.Login: "alice", label.Name: "web"}, label.MLC},
		"half of mlc's labels":            {map[string]string{label.Name: "web"}, label.Docker},
		"a key that only begins alike":    {map[string]string{"devcontainers": "x", "com.docker.composer": "x"}, label.Docker},
	} {
		if got := label.InterfaceOf(c.labels, label.Docker); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestClientOf(t *testing.T) {
	for agent, want := range map[string]string{
		"Docker-Client/28.2.2 (linux)":         label.Docker,
		"Docker-Client/20.10.24+dfsg1 (linux)": label.Docker,
		"docker-sdk-python/5.0.3":              label.API,
		"tc-go/0.45.0":                         label.API,
		"":                                     label.API,
		"evil (Docker-Client/28.2.2)":          label.API,
	} {
		if got := label.InterfaceOf(nil, label.ClientOf(agent)); got != want {
			t.Errorf("%q: %s", agent, got)
		}
	}
}

func FuzzRemoteUser(f *testing.F) {
	for _, metadata := range []string{"", "[]", `[{"remoteUser":"dev"}]`, `[{"remoteUser":"a"},{"remoteUser":""},null]`, `[{"remoteUser":"${localEnv:USER}"}]`, `{`, `[1]`} {
		f.Add(metadata)
	}
	f.Fuzz(func(t *testing.T, metadata string) {
		user := label.RemoteUser(map[string]string{"devcontainer.metadata": metadata})
		if strings.Contains(user, "${") {
			t.Errorf("%q is told of", user)
		}
	})
}

func TestRemoteUser(t *testing.T) {
	for metadata, want := range map[string]string{
		"": "", "x": "", "[]": "", "null": "", `{"remoteUser":"dev"}`: "", `[{"remoteUser":7}]`: "", `[{"remoteUser":"dev"}]`: "dev",
		`[{"remoteUser":"a"},{"remoteUser":"b"},{"init":true},null]`: "b", `[{"remoteUser":"a"},{"remoteUser":"${localEnv:USER}"}]`: "",
	} {
		if got := label.RemoteUser(map[string]string{"devcontainer.metadata": metadata}); got != want {
			t.Errorf("%s: %q", metadata, got)
		}
	}
	if got := label.RemoteUser(nil); got != "" {
		t.Errorf("nobody is %q", got)
	}
}
