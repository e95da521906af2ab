package admission_test

import (
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/problem"
)

func TestWhatACommitMaySay(t *testing.T) {
	for _, body := range []string{"", " \n", "null", "{}"} {
		c, err := admission.ReviewCommit([]byte(body))
		if err != nil || c.Labels[label.Claim] != "" || len(c.Labels) != 3 {
			t.Errorf("%q: %+v, %v", body, c, err)
		}
	}
	c, err := admission.ReviewCommit([]byte(`{"Hostname":"x","Cmd":["a","b"],"Env":["A=b"],"Labels":{"a":"b","aime.mlc.USER":"bob","DS01.x":"y"},"Volumes":null,"OnBuild":null}`))
	if text := encode(t, c); err != nil || c.Labels["a"] != "b" || strings.Contains(text, "bob") || strings.Contains(text, "DS01.x") || strings.Contains(text, "Hostname") || c.Env[0] != "A=b" || c.Cmd[1] != "b" {
		t.Errorf("sent %s, %v", encode(t, c), err)
	}
	for body, kind := range map[string]error{
		`{"OnBuild":["RUN true"]}`:              problem.ErrDenied,
		`{"WorkingDir":"/proc/self/fd/8"}`:      problem.ErrDenied,
		`{"HostConfig":{"Privileged":true}}`:    problem.ErrInvalid,
		`{"labels":{"a":"b"}}`:                  problem.ErrInvalid,
		`{"Labels":{},"Labels":{"a":"b"}}`:      problem.ErrInvalid,
		`{"Cmd":["a"]}{}`:                       problem.ErrInvalid,
		`{"WorkingDir":"/x/../proc/self/fd/8"}`: problem.ErrDenied,
		`{"Healthcheck":{"Interval":1}}`:        problem.ErrDenied,
	} {
		_, err := admission.ReviewCommit([]byte(body))
		wantProblem(t, err, kind, "")
	}
}

func TestChanges(t *testing.T) {
	for _, change := range []string{
		"", `CMD ["cat"]`, "env A=$B", "LABEL course=ml", `LABEL "a b"="c d"`, "USER 1000:1000", "WORKDIR /work", "VOLUME /data", "EXPOSE 80\nCMD ls",
		"STOPSIGNAL INT", `HEALTHCHECK CMD ["true"]`, "  ENTRYPOINT [\"/bin/sh\"]  ", "LABEL my.ds01=x",
	} {
		if err := admission.CheckChanges([]string{change}); err != nil {
			t.Errorf("%q: %v", change, err)
		}
	}
	for _, change := range []string{
		"RUN true", "COPY a b", "ADD http://x /", "ONBUILD RUN true", "FROM x", "# escape=`", "SHELL [\"x\"]", "ARG a", "MAINTAINER x",
		"LABEL aime.mlc=x", `LABEL "aime.mlc.USER"=bob`, "LABEL AIME.MLC.X y", "LABEL a=b ds01.owner=c", "LABEL a=b\tds01=c", `LABEL ai\me.mlc=x`, "LABEL ${P}.mlc=x",
		"LABEL a=b \\\naime.mlc=x", "CMD ls \\", "WORKDIR /proc/self/fd/8", "WORKDIR \"/proc/self\"", "WORKDIR $P", "workdir //proc/./x", "label\tds01=x", "CMD ls\nRUN true",
	} {
		wantProblem(t, admission.CheckChanges([]string{"CMD ls", change}), problem.ErrDenied, "")
	}
}

func TestAnImageThatBeginsInProcIsNotRun(t *testing.T) {
	c, err := admission.DecodeCreate([]byte(`{"Image":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	s := subject(t, admission.UserNS)
	_, err = admission.Review(c, s, admission.Grant{ImageDir: "/proc/self/fd/8"})
	wantProblem(t, err, problem.ErrDenied, "")
	c.WorkingDir = "/work" // which the image's gives way to
	if _, err = admission.Review(c, s, admission.Grant{ImageDir: "/proc/self/fd/8"}); err != nil {
		t.Error(err)
	}
}

func TestAnImageThatIsCheckedAllTheTimeIsNotRun(t *testing.T) {
	for _, probes := range []container.Probes{{Interval: time.Nanosecond}, {StartInterval: time.Millisecond}, {Interval: -time.Second}} {
		for body, kind := range map[string]error{
			`{"Image":"x"}`: problem.ErrDenied,
			`{"Image":"x","Healthcheck":{"Test":["CMD","true"]}}`:                                   problem.ErrDenied,
			`{"Image":"x","Healthcheck":{"Interval":1000000000,"StartInterval":1000000000}}`:        nil,
			`{"Image":"x","Healthcheck":{"Test":["NONE"]}}`:                                         nil,
			`{"Image":"x","Healthcheck":{"Interval":1000000000,"StartInterval":1,"Test":["NONE"]}}`: problem.ErrDenied,
		} {
			c, err := admission.DecodeCreate([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			_, err = admission.Review(c, subject(t, admission.UserNS), admission.Grant{ImageProbes: probes})
			if kind == nil && err != nil {
				t.Errorf("%v, %s: %v", probes, body, err)
			} else if kind != nil {
				wantProblem(t, err, kind, "")
			}
		}
	}
}

func TestNamesInAnArchiveAreChanged(t *testing.T) {
	var names [][]string
	change := func(of [][]string) ([]string, error) {
		names = of
		return []string{"m:0", "m:1"}[:len(of)], nil
	}
	sent, err := admission.ChangeNames([]byte(`[{"Config":"c.json","RepoTags":["x:1","y:2"],"Layers":["l/layer.tar"],"Parent":"sha256:c","LayerSources":{"sha256:a":{"urls":["http://x"]}}},{"Config":"d.json","RepoTags":null,"Layers":null}]`), change)
	if err != nil || len(names) != 2 || len(names[0]) != 2 || names[0][1] != "y:2" || len(names[1]) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	if want := `[{"Config":"c.json","RepoTags":["m:0"],"Layers":["l/layer.tar"]},{"Config":"d.json","RepoTags":["m:1"],"Layers":[]}]`; string(sent) != want {
		t.Errorf("sent %s", sent)
	}
	for _, bad := range []string{``, `{}`, `[{"repoTags":["x"]}]`, `[{"Config":"c","RepoTags":["x"],"RepoTags":[]}]`, `[] []`, `[{"Config":"c","New":1}]`} {
		_, err := admission.ChangeNames([]byte(bad), change)
		wantProblem(t, err, problem.ErrInvalid, "")
	}
	index, err := admission.TakeIndexNames([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"m","digest":"sha256:a","size":5,"annotations":{"io.containerd.image.name":"docker.io/library/x:1"}}],"annotations":{"a":"b"}}`))
	if want := `{"schemaVersion":2,"manifests":[{"mediaType":"m","digest":"sha256:a","size":5}]}`; err != nil || string(index) != want {
		t.Errorf("sent %s, %v", index, err)
	}
	_, err = admission.TakeIndexNames([]byte(`{"schemaVersion":2,"manifests":[],"Manifests":[]}`))
	wantProblem(t, err, problem.ErrInvalid, "")
	renamed, err := admission.RenameManifest([]byte(`[{"Config":"c","RepoTags":["a:1"],"Future":5},{"RepoTags":null}]`), func(names []string) []string { return append(names, "b:1") })
	if want := `[{"RepoTags":["a:1","b:1"],"Config":"c","Future":5},{"RepoTags":null}]`; err != nil || string(renamed) != want {
		t.Errorf("sent %s, %v", renamed, err)
	}
}

func TestALoginIsReadStrictly(t *testing.T) {
	if c, err := admission.ReviewAuth([]byte(`{"username":"a","password":"b","serveraddress":"reg:5000"}`)); err != nil || c.Username != "a" || c.ServerAddress != "reg:5000" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{``, `{"Username":"a"}`, `{"username":"a","username":"b"}`, `{"host":"x"}`} {
		_, err := admission.ReviewAuth([]byte(bad))
		wantProblem(t, err, problem.ErrInvalid, "")
	}
}
