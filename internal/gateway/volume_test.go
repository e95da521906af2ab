package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func (l *lab) listVolumes() {
	l.answer("/volumes", `{"Volumes":[{"Name":"data._.%d","Driver":"local","Mountpoint":"/v/data._.%[1]d/_data"},{"Name":"data._.%d","Driver":"local"},{"Name":"foreign","Driver":"local"}],"Warnings":null}`, alice, bob)
	l.answer(fmt.Sprintf("/volumes/data._.%d", alice), `{"Name":"data._.%d","Driver":"local","Labels":{"a":"b"}}`, alice)
	l.answer("/system/df", `{"LayersSize":30,"BuilderSize":9,"BuildCache":[{"ID":"x"}],
		"Images":[{"Id":"sha256:a","RepoTags":["busybox:latest"],"RepoDigests":null,"Size":10,"SharedSize":4,"Containers":7},
			{"Id":"sha256:b","RepoTags":["ds01-%d/secret:latest"],"RepoDigests":[],"Size":20,"SharedSize":4,"Containers":1}],
		"Containers":[],"Volumes":[{"Name":"data._.%d","UsageData":{"Size":5,"RefCount":0}},{"Name":"data._.%[1]d","UsageData":{"Size":6,"RefCount":1}}]}`, bob, alice)
}

func TestVolumesAreShownInOnesOwnNames(t *testing.T) {
	l := newLab(t)
	belongings(t, l)
	l.listVolumes()
	type list struct{ Volumes []struct{ Name string } }
	if got := decode[list](t, l.ask(t, alice, "GET", "/v1.41/volumes", "")); len(got.Volumes) != 1 || got.Volumes[0].Name != "data" {
		t.Errorf("alice sees %+v", got)
	}
	if got := decode[list](t, l.ask(t, admin, "GET", "/v1.41/volumes", "")); len(got.Volumes) != 3 {
		t.Errorf("an administrator sees %+v", got)
	}
	for _, reference := range []string{"data", fmt.Sprintf("data._.%d", alice)} {
		if a := l.ask(t, alice, "GET", "/v1.41/volumes/"+reference, ""); a.status != 200 || !strings.Contains(a.body, `"Name":"data"`) || !strings.Contains(a.body, `"a":"b"`) {
			t.Errorf("%s: %d %s", reference, a.status, a.body)
		}
	}
	for _, reference := range []string{fmt.Sprintf("data._.%d", bob), "foreign", "nobodys"} {
		for _, method := range []string{"GET", "DELETE"} {
			wantRefusal(t, l.ask(t, alice, method, "/v1.41/volumes/"+reference, ""), 404, "No such volume")
		}
	}
	if got := l.engine.last(); strings.HasPrefix(got, "DELETE") {
		t.Errorf("the engine was asked %s", got)
	}
}

func TestAVolumeIsMadeInOurWords(t *testing.T) {
	l := newLab(t)
	belongings(t, l)
	l.listVolumes()
	a := l.ask(t, alice, "POST", "/v1.41/volumes/create", `{"Name":"data","Driver":"local","DriverOpts":null,"Labels":{"a":"b"}}`)
	if a.status != 201 || !strings.Contains(a.body, `"Name":"data"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, body := range []string{
		`{"Name":"x","DriverOpts":{"type":"none","o":"bind","device":"/"}}`, `{"Name":"x","Driver":"nfs"}`, `{"Name":"x","Labels":{"aime.mlc":"bob"}}`,
	} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/volumes/create", body), 403, "Volume not created")
	}
	if got := len(l.registrar.VolumesOf(alice)); got != 1 {
		t.Errorf("alice has %d volumes", got)
	}
	if a := l.ask(t, alice, "DELETE", "/v1.41/volumes/data?force=1", ""); a.status != 204 || l.engine.last() != fmt.Sprintf("DELETE /v1.41/volumes/data._.%d?force=1", alice) {
		t.Errorf("%d %s", a.status, l.engine.last())
	}
	if got := l.registrar.VolumesOf(alice); len(got) > 0 {
		t.Errorf("on record: %v", got)
	}
}

func TestPruningTakesOnesOwn(t *testing.T) {
	l := newLab(t)
	belongings(t, l)
	l.listVolumes()
	a := l.ask(t, alice, "POST", "/v1.41/volumes/prune", "")
	got := decode[struct {
		VolumesDeleted []string
		SpaceReclaimed int
	}](t, a)
	if len(got.VolumesDeleted) != 1 || got.VolumesDeleted[0] != "data" || got.SpaceReclaimed != 5 {
		t.Errorf("got %s", a.body)
	}
	for _, r := range l.engine.requests {
		if strings.HasPrefix(r, "DELETE") && r != fmt.Sprintf("DELETE /v1.41/volumes/data._.%d", alice) {
			t.Errorf("the engine was asked %s", r)
		}
	}
}

func TestPruningTakesTheVolumesThatPassTheFilters(t *testing.T) {
	for filters, want := range map[string]int{
		`{"label":["a"]}`: 1, `{"label":["a=c"]}`: 0, `{"label!":["a=b"]}`: 0, `{"label!":["a=c"]}`: 1,
	} {
		l := newLab(t)
		belongings(t, l)
		l.listVolumes()
		l.answer("/volumes", `{"Volumes":[{"Name":"data._.%d","Labels":{"a":"b"}},{"Name":"data._.%d","Labels":{"a":"b"}}]}`, alice, bob)
		a := l.ask(t, alice, "POST", "/v1.41/volumes/prune?filters="+url.QueryEscape(filters), "")
		if got := decode[struct{ VolumesDeleted []string }](t, a); len(got.VolumesDeleted) != want {
			t.Errorf("%s: %s", filters, a.body)
		}
	}
	l := newLab(t)
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/volumes/prune?filters="+url.QueryEscape(`{"until":["1h"]}`), ""), 400, "not served")
}

func TestDiskUsageIsOnesOwn(t *testing.T) {
	l := newLab(t)
	belongings(t, l)
	l.listVolumes()
	hers, his := l.create(t, alice), l.create(t, bob)
	l.engine.answers["GET /system/df"] = strings.Replace(l.engine.answers["GET /system/df"], `"Containers":[],`,
		fmt.Sprintf(`"Containers":[{"Id":%q,"Names":["/web._.%d"],"Image":"busybox","ImageID":"sha256:a"},{"Id":%q,"Names":["/web._.%d"],"Image":"busybox","ImageID":"sha256:a"}],`, hers, alice, his, bob), 1)
	type usage struct {
		LayersSize, BuilderSize     int
		Images, Volumes, Containers []json.RawMessage
		BuildCache                  []json.RawMessage
	}
	a := l.ask(t, alice, "GET", "/v1.41/system/df", "")
	got := decode[usage](t, a)
	if got.LayersSize != 10 || got.BuilderSize != 0 || len(got.Images) != 1 || len(got.Volumes) != 1 || len(got.Containers) != 1 || len(got.BuildCache) != 0 {
		t.Errorf("alice is told %s", a.body)
	}
	for _, want := range []string{`"Names":["/web"]`, `"Name":"data"`, `"Containers":1`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in %s", want, a.body)
		}
	}
	for kind, want := range map[string]string{"container": "web", "image": "busybox:latest", "volume": "data", "build-cache": ""} {
		a := l.ask(t, alice, "GET", "/v1.41/system/df?type="+kind, "")
		got := decode[usage](t, a)
		if n := len(got.Images) + len(got.Volumes) + len(got.Containers); n > 1 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %s", kind, a.body)
		}
	}
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/system/df?type=all", ""), 400, "no type")
	if got := decode[usage](t, l.ask(t, admin, "GET", "/v1.41/system/df", "")); len(got.Volumes) != 2 || len(got.Containers) != 2 {
		t.Errorf("an administrator is told %+v", got)
	}
}

func TestAContainerIsShownWithOnesOwnNamesOfNetworksAndVolumes(t *testing.T) {
	l := newLab(t)
	belongings(t, l)
	id := l.create(t, alice)
	networks := fmt.Sprintf(`{"Networks":{"default._.%d":{"Aliases":["web","%.12s"],"DNSNames":["web._.%[1]d"]},"net._.%[1]d":{}}}`, alice, id)
	mounts := fmt.Sprintf(`[{"Type":"volume","Name":"data._.%d","Source":"/v/data._.%[1]d/_data","Destination":"/d"}]`, alice)
	l.answer("/containers/"+id+"/json", `{"Id":%q,"Name":"/web._.%d","Mounts":%s,"Config":{"Image":"x"},"HostConfig":{"NetworkMode":"default._.%[2]d","Mounts":[{"Type":"volume","Source":"data._.%[2]d","Target":"/d"}]},"NetworkSettings":%[4]s}`, id, alice, mounts, networks)
	l.answer("/containers/json", `[{"Id":%q,"Names":["/web._.%d"],"Image":"x","HostConfig":{"NetworkMode":"default._.%[2]d"},"NetworkSettings":%[3]s,"Mounts":%[4]s}]`, id, alice, networks, mounts)
	for _, target := range []string{"/v1.41/containers/web/json", "/v1.41/containers/json"} {
		a := l.ask(t, alice, "GET", target, "")
		body := strings.ReplaceAll(a.body, fmt.Sprintf("/v/data._.%d/_data", alice), "")
		if a.status != 200 || strings.Contains(body, "._.") {
			t.Errorf("%d %s", a.status, body)
		}
		for _, want := range []string{`"NetworkMode":"bridge"`, `"bridge":{`, `"net":{`, `"Name":"data"`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in %s", target, want, body)
			}
		}
	}
}
