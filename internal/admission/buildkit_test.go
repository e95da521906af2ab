package admission_test

import (
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// debians is the query of Debian's client, which writes what nobody asked for.
const debians = "remote=client-session&version=2&session=s&buildid=b&rm=1&shmsize=0&memory=0&memswap=0&cpushares=0&cpuquota=0&cpuperiod=0&ulimits=null&networkmode=default"

func TestABuildsOptionsAreTheReadersOwn(t *testing.T) {
	query, err := url.ParseQuery(debians + "&dockerfile=a/Dockerfile&target=two&nocache=1&platform=linux/amd64&networkmode=&extrahosts=x:1.2.3.4" +
		`&buildargs={"A":"1","UNSET":null,"BUILDKIT_INLINE_CACHE":"1"}&labels={"l":"m"}&cachefrom=["x"]&outputs=[]`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := admission.ReadKitBuild(query)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"filename": "a/Dockerfile", "target": "two", "no-cache": "", "platform": "linux/amd64", "add-hosts": "x:1.2.3.4", "build-arg:A": "1", "label:l": "m",
	}
	if diff := cmp.Diff(want, got.Attributes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if notes := strings.Join(got.Notes, "; "); !strings.Contains(notes, "(--cache-from)") || !strings.Contains(notes, "(BUILDKIT_INLINE_CACHE)") {
		t.Errorf("it is told %q", notes)
	}
}

func TestFilesAreTheClientsToReceive(t *testing.T) {
	for outputs, want := range map[string]admission.KitOutputs{
		"": admission.KitImage, "[]": admission.KitImage, `[{"Type":"local","Attrs":{}}]`: admission.KitFiles, `[{"Type":"tar","Attrs":{"dest":"x"}}]`: admission.KitTar,
		`[{"Type":"moby","Attrs":{"load":"true","push":"false"}}]`: admission.KitImage,
	} {
		query, err := url.ParseQuery(debians + "&outputs=" + outputs)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := admission.ReadKitBuild(query); err != nil || got.Output != want {
			t.Errorf("%q: %q, %v", outputs, got.Output, err)
		}
	}
}

func TestImagesAreFetchedAnewWhereTheClientSaysSo(t *testing.T) {
	for pull, want := range map[string]bool{"&pull=1": true, "&pull=0": false, "": false} {
		query, err := url.ParseQuery(debians + pull)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := admission.ReadKitBuild(query); err != nil || got.Pull() != want {
			t.Errorf("%q: %v, %v", pull, got.Pull(), err)
		}
	}
	for mode, want := range map[string]bool{"pull": true, "local": false, "default": false, "": false} {
		options, err := admission.ReadKitAttributes(map[string]string{"image-resolve-mode": mode})
		if got := (admission.KitRequest{KitOptions: options}); err != nil || got.Pull() != want {
			t.Errorf("%q: %v, %v", mode, got.Pull(), err)
		}
	}
}

func TestABuildThatAsksForMoreIsRefused(t *testing.T) {
	for name, change := range map[string]string{
		"a context of an address":      "remote=http://127.0.0.1/x",
		"a group of choice":            "cgroupparent=/",
		"other security":               "securityopt=[]",
		"a context in the request":     "remote=upload-request",
		"the host's network":           "networkmode=host",
		"another's network":            "networkmode=container:x",
		"memory":                       "memory=1",
		"no limit of memory":           "memswap=-1",
		"processor time":               "cpuquota=100000",
		"shared memory":                "shmsize=1000000000",
		"limits of files":              `ulimits=[{"Name":"nofile","Hard":-1}]`,
		"an archive of the image":      `outputs=[{"Type":"oci"}]`,
		"a push":                       `outputs=[{"Type":"registry"}]`,
		"files to be loaded":           `outputs=[{"Type":"local","Attrs":{"load":"true"}}]`,
		"an image pushed at once":      `outputs=[{"Type":"moby","Attrs":{"load":"true","push":"true"}}]`,
		"files otherwise":              `outputs=[{"Type":"local","Attrs":{"x":"y"}}]`,
		"two outputs":                  `outputs=[{"Type":"local"},{"Type":"tar"}]`,
		"what steers BuildKit":         `buildargs={"BUILDKIT_SYNTAX":"x"}`,
		"a hostname that steers steps": `buildargs={"BUILDKIT_SANDBOX_HOSTNAME":"x"}`,
		"arguments that are no JSON":   "buildargs=x",
		"outputs that are no JSON":     "outputs=type=local",
	} {
		query, err := url.ParseQuery(debians)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := url.ParseQuery(change)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(query, changed)
		if got, err := admission.ReadKitBuild(query); !errors.Is(err, problem.ErrDenied) && !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
