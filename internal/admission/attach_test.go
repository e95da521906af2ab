package admission_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
)

func ask(t *testing.T, body string) admission.Ask {
	t.Helper()
	c, err := admission.DecodeCreate([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Ask()
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return a
}

func TestVolumesAreAskedForInEverySpelling(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want []admission.VolumeAsk
	}{
		"a name":              {host(`"Binds":["data:/d"]`), []admission.VolumeAsk{{Name: "data", Target: "/d"}}},
		"a name, read only":   {host(`"Binds":["data:/d:ro,nocopy,z"]`), []admission.VolumeAsk{{Name: "data", Target: "/d", ReadOnly: true, NoCopy: true}}},
		"a mount":             {host(`"Mounts":[{"Type":"volume","Source":"data","Target":"/d/","ReadOnly":true,"VolumeOptions":{"DriverConfig":{"Name":"local"},"Labels":{"a":"b"}}}]`), []admission.VolumeAsk{{Name: "data", Target: "/d", ReadOnly: true, Labels: map[string]string{"a": "b"}}}},
		"a part of one":       {host(`"Mounts":[{"Type":"volume","Source":"data","Target":"/d","VolumeOptions":{"Subpath":"a/b..c"}}]`), []admission.VolumeAsk{{Name: "data", Target: "/d", Subpath: "a/b..c"}}},
		"a mount without one": {host(`"Mounts":[{"Type":"volume","Target":"/d"}]`), []admission.VolumeAsk{{Target: "/d"}}},
		"only a path":         {top(`"Volumes":{"/d":{},"/c":{}}`), []admission.VolumeAsk{{Target: "/c"}, {Target: "/d"}}},
		"as compose does":     {top(`"Volumes":{"/d":{},"/home":{}},"HostConfig":{"Binds":["proj_data:/d:rw","/home/alice:/home:rw"]}`), []admission.VolumeAsk{{Name: "proj_data", Target: "/d"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ask(t, c.body).Volumes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestVolumesGoOnByTheEnginesNames(t *testing.T) {
	both(t, func(t *testing.T, mode admission.Isolation) {
		c := mustReview(t, mode, `{"Image":"x","Volumes":{"/c":{}},"HostConfig":{"Binds":["data:/d:ro"],"VolumesFrom":[]}}`)
		text := encode(t, c)
		if len(c.Volumes) > 0 || len(c.HostConfig.Binds) > 0 || len(c.HostConfig.Mounts) != 2 {
			t.Error(text)
		}
		for _, want := range []string{`"Source":"data._.1001","Target":"/d","ReadOnly":true`, `{"Type":"volume","Target":"/c"`} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in %s", want, text)
			}
		}
	})
}

func TestWhatTheEngineCantDoWithAVolumeIsRefused(t *testing.T) {
	body := host(`"Mounts":[{"Type":"volume","Source":"data","Target":"/d","VolumeOptions":{"Subpath":"a"}}]`)
	_, err := review(t, admission.UserNS, body)
	wantProblem(t, err, problem.ErrDenied, "whole only")
	c, err := admission.DecodeCreate([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	g := grant(ask(t, body))
	g.Subpaths = true
	if c, err = admission.Review(c, subject(t, admission.UserNS), g); err != nil || c.HostConfig.Mounts[0].VolumeOptions.Subpath != "a" {
		t.Error(encode(t, c), err)
	}
}

func TestAnImageCantMountAVolumeWhereNobodyMay(t *testing.T) {
	for _, target := range []string{"/dev", "/var/run/nvidia-container-devices/all", "proc/sys", "/x/../sys"} {
		_, err := admission.Review(admission.Create{Image: "x"}, subject(t, admission.UserNS), admission.Grant{ImageVolumes: []string{target}})
		wantProblem(t, err, problem.ErrDenied, "nothing can be mounted")
	}
}

func TestNetworksAreAskedForInEverySpelling(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want admission.NetworkAsk
	}{
		"nothing":             {top(`"Tty":true`), admission.NetworkAsk{Names: []string{"bridge"}}},
		"default":             {host(`"NetworkMode":"default"`), admission.NetworkAsk{Names: []string{"bridge"}}},
		"as docker 20.10":     {top(`"HostConfig":{"NetworkMode":"default"},"NetworkingConfig":{"EndpointsConfig":{}}`), admission.NetworkAsk{Names: []string{"bridge"}}},
		"as docker 28":        {top(`"HostConfig":{"NetworkMode":"bridge"},"NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,"Aliases":null}}}`), admission.NetworkAsk{Names: []string{"bridge"}}},
		"none":                {host(`"NetworkMode":"none"`), admission.NetworkAsk{None: true}},
		"switched off":        {top(`"NetworkDisabled":true`), admission.NetworkAsk{None: true}},
		"a network":           {host(`"NetworkMode":"net"`), admission.NetworkAsk{Names: []string{"net"}}},
		"a network, and more": {top(`"HostConfig":{"NetworkMode":"net"},"NetworkingConfig":{"EndpointsConfig":{"net":{"Aliases":["db"]},"other":null}}`), admission.NetworkAsk{Names: []string{"net", "other"}, Aliases: map[string][]string{"net": {"db"}}}},
		"as docker-py":        {top(`"HostConfig":{"NetworkMode":"net"},"NetworkingConfig":{"net":null}`), admission.NetworkAsk{Names: []string{"net"}}},
		"a container's":       {host(`"NetworkMode":"container:web"`), admission.NetworkAsk{Container: "web"}},
		"as testcontainers":   {top(`"NetworkingConfig":{"EndpointsConfig":{"net":{"Aliases":["db"]}}}`), admission.NetworkAsk{Names: []string{"net"}, Aliases: map[string][]string{"net": {"db"}}}},
		"two, and no mode":    {top(`"HostConfig":{"NetworkMode":"default"},"NetworkingConfig":{"EndpointsConfig":{"net":{},"bridge":{}}}`), admission.NetworkAsk{Names: []string{"bridge", "net"}}},
		"a mode, and another": {top(`"HostConfig":{"NetworkMode":"bridge"},"NetworkingConfig":{"EndpointsConfig":{"net":{}}}`), admission.NetworkAsk{Names: []string{"bridge", "net"}}},
		"links":               {host(`"NetworkMode":"net","Links":["web:db","/other"]`), admission.NetworkAsk{Names: []string{"net"}, Links: []admission.Link{{Container: "web", Alias: "db"}, {Container: "other", Alias: "other"}}}},
		"links of an endpoint": {
			top(`"HostConfig":{"NetworkMode":"net"},"NetworkingConfig":{"EndpointsConfig":{"net":{"Links":["web:db"]}}}`),
			admission.NetworkAsk{Names: []string{"net"}, Links: []admission.Link{{Container: "web", Alias: "db"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, c.body).Network
			for name, aliases := range got.Aliases {
				if len(aliases) == 0 {
					delete(got.Aliases, name)
				}
			}
			if len(got.Aliases) == 0 {
				got.Aliases = nil
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNetworkingConfigIsReadStrictly(t *testing.T) {
	for _, config := range []string{
		`{"net":{}}`, `{"endpointsConfig":{"host":{}}}`, `{"EndpointsConfig":{"bridge":{"Unknown":1}}}`, `{"EndpointsConfig":{},"EndpointsConfig":{"host":{}}}`,
		`{"EndpointsConfig":{"bridge":{},"bridge":{}}}`, `{"EndpointsConfig":{"bridge":{"aliases":["x"]}}}`, `[]`, `"x"`,
	} {
		_, err := review(t, admission.UserNS, top(`"NetworkingConfig":`+config))
		wantProblem(t, err, problem.ErrInvalid, "")
	}
}

func TestANetworkThatContradictsAnotherIsInvalid(t *testing.T) {
	for _, body := range []string{
		top(`"HostConfig":{"NetworkMode":"none"},"NetworkingConfig":{"EndpointsConfig":{"net":{}}}`),
		top(`"HostConfig":{"NetworkMode":"container:web"},"NetworkingConfig":{"EndpointsConfig":{"net":{}}}`),
		top(`"HostConfig":{"NetworkMode":"net"},"NetworkingConfig":{"EndpointsConfig":{"none":{}}}`),
		host(`"NetworkMode":"container:"`), host(`"NetworkMode":"a/b"`), host(`"NetworkMode":"ns:/proc/1/ns/net"`),
		top(`"NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["a b"]}}}`), top(`"NetworkingConfig":{"EndpointsConfig":{"none":{}}}`),
		host(`"Links":["a b:c"]`), host(`"Links":["a:"]`), host(`"Links":["a:b:c"]`), host(`"NetworkMode":"none","Links":["web:db"]`), host(`"NetworkMode":"container:web","Links":["a"]`),
		top(`"NetworkingConfig":{"EndpointsConfig":{"bridge":{"Links":["a:b c"]}}}`),
	} {
		_, err := review(t, admission.UserNS, body)
		wantProblem(t, err, problem.ErrInvalid, "")
	}
}

func TestWithoutAGrantThereIsNoNetwork(t *testing.T) {
	c, err := admission.Review(admission.Create{Image: "x", HostConfig: admission.HostConfig{NetworkMode: "net"}}, subject(t, admission.UserNS), admission.Grant{})
	if err != nil || c.HostConfig.NetworkMode != "none" {
		t.Errorf("%q, %v", c.HostConfig.NetworkMode, err)
	}
}

func TestPortsAreAskedForInEverySpelling(t *testing.T) {
	only := func(n int) port.Range { return port.Range{First: n, Last: n} }
	for name, c := range map[string]struct {
		bindings string
		want     []port.Ask
	}{
		"two numbers":  {`{"80/tcp":[{"HostIp":"","HostPort":"20000"}]}`, []port.Ask{{Container: 80, Protocol: "tcp", Host: only(20000)}}},
		"one":          {`{"80/tcp":[{"HostPort":""}]}`, []port.Ask{{Container: 80, Protocol: "tcp"}}},
		"zero":         {`{"80":[{"HostPort":"0"}]}`, []port.Ask{{Container: 80, Protocol: "tcp"}}},
		"null":         {`{"53/udp":null}`, []port.Ask{{Container: 53, Protocol: "udp"}}},
		"an address":   {`{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"20000"},{"HostIp":"::1"}]}`, []port.Ask{{Container: 80, Protocol: "tcp", Address: "127.0.0.1", Host: only(20000)}, {Container: 80, Protocol: "tcp", Address: "::1"}}},
		"a range":      {`{"80/tcp":[{"HostPort":"20000-20005"}]}`, []port.Ask{{Container: 80, Protocol: "tcp", Host: port.Range{First: 20000, Last: 20005}}}},
		"the system's": {`{"80/tcp":[{"HostPort":"80"}]}`, []port.Ask{{Container: 80, Protocol: "tcp", Host: only(80)}}}, // the policy refuses it
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ask(t, host(`"PortBindings":`+c.bindings)).Ports); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, bindings := range []string{
		`{"x/tcp":[]}`, `{"0/tcp":[]}`, `{"65536/tcp":[]}`, `{"80-90/tcp":[]}`, `{"80/tcp":[{"HostPort":"-1"}]}`, `{"80/tcp":[{"HostPort":"9-8"}]}`,
		`{"80/tcp":[{"HostIp":"host.example"}]}`, `{"80/tcp":[{"HostPort":"70000"}]}`,
	} {
		_, err := review(t, admission.UserNS, host(`"PortBindings":`+bindings))
		wantProblem(t, err, problem.ErrInvalid, "")
	}
}

func TestPublishAllAsksForWhatTheContainerListensOn(t *testing.T) {
	c := admission.Create{ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}}}
	c.HostConfig.PortBindings = map[string][]admission.PortBinding{"80/tcp": {{HostPort: "20007"}}}
	exposed := []string{"8888/tcp", "53/udp"}
	first := []port.Ask{{Container: 80, Protocol: "tcp", Host: port.Range{First: 20007, Last: 20007}}}
	if got, err := c.PublishAll(first, exposed); err != nil || len(got) != 1 {
		t.Errorf("without -P: %v, %v", got, err)
	}
	c.HostConfig.PublishAllPorts = true
	got, err := c.PublishAll(first, exposed)
	if diff := cmp.Diff(append(slices.Clone(first), port.Ask{Container: 53, Protocol: "udp"}, port.Ask{Container: 8888, Protocol: "tcp"}), got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestPortsGoOnFixed(t *testing.T) {
	g := admission.Grant{Ports: []port.Port{{Address: "127.0.0.1", Protocol: "tcp", Host: 20000, Container: 80}, {Address: "127.0.0.1", Protocol: "tcp", Host: 20001, Container: 80}}}
	c := admission.Create{Image: "x"}
	c.HostConfig.PublishAllPorts = true
	c.HostConfig.PortBindings = map[string][]admission.PortBinding{"80/tcp": {{HostIP: "0.0.0.0", HostPort: "80"}}}
	c, err := admission.Review(c, subject(t, admission.UserNS), g)
	want := `"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"20000"},{"HostIp":"127.0.0.1","HostPort":"20001"}]}`
	if text := encode(t, c); err != nil || !strings.Contains(text, want) || strings.Contains(text, "PublishAllPorts") {
		t.Error(text, err)
	}
}

func TestReviewNetwork(t *testing.T) {
	for name, body := range map[string]string{
		"docker 20.10":  `{"CheckDuplicate":true,"Driver":"bridge","EnableIPv6":false,"IPAM":{"Driver":"default","Options":{},"Config":[]},"Internal":false,"Attachable":false,"Ingress":false,"ConfigOnly":false,"ConfigFrom":null,"Options":{},"Labels":{},"Name":"net"}`,
		"docker 28":     `{"Name":"net","CheckDuplicate":true,"Driver":"bridge","Scope":"","EnableIPv4":true,"IPAM":{"Driver":"default","Options":{},"Config":[]},"Internal":true,"Attachable":false,"Ingress":false,"ConfigOnly":false,"ConfigFrom":null,"Options":{},"Labels":{}}`,
		"compose":       `{"Name":"proj_default","Driver":null,"Options":null,"IPAM":null,"CheckDuplicate":true,"Attachable":true,"Labels":{"com.docker.compose.network":"default"}}`,
		"an MTU":        `{"Name":"net","Options":{"com.docker.network.driver.mtu":"1400","com.docker.network.bridge.enable_icc":"false"}}`,
		"only its name": `{"Name":"net"}`,
	} {
		if n, err := admission.ReviewNetwork([]byte(body)); err != nil || n.Internal != (name == "docker 28") {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	for name, body := range map[string]string{
		"macvlan":                 `{"Name":"net","Driver":"macvlan","Options":{"parent":"eth0"}}`,
		"ipvlan":                  `{"Name":"net","Driver":"ipvlan"}`,
		"the host's":              `{"Name":"net","Driver":"host"}`,
		"overlay":                 `{"Name":"net","Driver":"overlay"}`,
		"a subnet of the lab":     `{"Name":"net","IPAM":{"Config":[{"Subnet":"10.0.0.0/8"}]}}`,
		"another address driver":  `{"Name":"net","IPAM":{"Driver":"null"}}`,
		"options of addresses":    `{"Name":"net","IPAM":{"Options":{"a":"b"}}}`,
		"version 6":               `{"Name":"net","EnableIPv6":true}`,
		"without version 4":       `{"Name":"net","EnableIPv4":false}`,
		"ingress":                 `{"Name":"net","Ingress":true}`,
		"another's configuration": `{"Name":"net","ConfigFrom":{"Network":"theirs"}}`,
		"only a configuration":    `{"Name":"net","ConfigOnly":true}`,
		"a scope":                 `{"Name":"net","Scope":"swarm"}`,
		"a bridge of the host's":  `{"Name":"net","Options":{"com.docker.network.bridge.name":"docker0"}}`,
		"an address to bind":      `{"Name":"net","Options":{"com.docker.network.bridge.host_binding_ipv4":"0.0.0.0"}}`,
		"a label of ds01's":       `{"Name":"net","Labels":{"AIME.mlc.DS01_UID":"0"}}`,
		"bridge":                  `{"Name":"bridge"}`,
		"default":                 `{"Name":"default"}`,
		"host":                    `{"Name":"host"}`,
	} {
		_, err := admission.ReviewNetwork([]byte(body))
		t.Log(name)
		wantProblem(t, err, problem.ErrDenied, "")
	}
	for _, body := range []string{
		``, `{}`, `{"Name":"a/b"}`, `{"Name":"x._.1001"}`, `{"name":"net"}`, `{"Name":"net","Name":"net"}`, `{"Name":"net","Unknown":1}`,
		`{"Name":"net","Options":{"com.docker.network.driver.mtu":"-1"}}`,
	} {
		_, err := admission.ReviewNetwork([]byte(body))
		wantProblem(t, err, problem.ErrInvalid, "")
	}
}

func TestReviewConnect(t *testing.T) {
	for _, body := range []string{`{"Container":"web"}`, `{"Container":"web","EndpointConfig":null}`, `{"Container":"web","EndpointConfig":{"Aliases":["db"],"IPAMConfig":{},"Links":[]}}`} {
		if n, err := admission.ReviewConnect([]byte(body)); err != nil || n.Container != "web" {
			t.Error(body, err)
		}
	}
	for _, body := range []string{
		`{"Container":"web","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.192.0.9"}}}`, `{"Container":"web","EndpointConfig":{"MacAddress":"02:42:ac:11:00:02"}}`,
		`{"Container":"web","EndpointConfig":{"DriverOpts":{"a":"b"}}}`,
	} {
		_, err := admission.ReviewConnect([]byte(body))
		wantProblem(t, err, problem.ErrDenied, "")
	}
}

func TestReviewVolume(t *testing.T) {
	for _, body := range []string{
		`{"Name":"data"}`, `{}`, `{"Name":"data","Driver":"local","DriverOpts":{},"Labels":{"a":"b"}}`, `{"Name":"data","Driver":"","DriverOpts":null,"Labels":null}`,
	} {
		if _, err := admission.ReviewVolume([]byte(body)); err != nil {
			t.Error(body, err)
		}
	}
	for name, body := range map[string]string{
		"the host's disk":          `{"Name":"x","Driver":"local","DriverOpts":{"type":"none","o":"bind","device":"/"}}`,
		"and all below it":         `{"Name":"x","DriverOpts":{"o":"rbind","device":"/etc"}}`,
		"a file server":            `{"Name":"x","DriverOpts":{"type":"nfs","o":"addr=10.0.0.1","device":":/export"}}`,
		"a Windows share":          `{"Name":"x","DriverOpts":{"type":"cifs","device":"//a/b"}}`,
		"layers over the host":     `{"Name":"x","DriverOpts":{"type":"overlay","o":"lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w","device":"overlay"}}`,
		"a disk":                   `{"Name":"x","DriverOpts":{"type":"ext4","device":"/dev/sda1"}}`,
		"memory without an end":    `{"Name":"x","DriverOpts":{"type":"tmpfs","device":"tmpfs"}}`,
		"another driver":           `{"Name":"x","Driver":"nfs"}`,
		"a cluster's":              `{"Name":"x","ClusterVolumeSpec":{"Group":"a"}}`,
		"a label of ds01's":        `{"Name":"x","Labels":{"aime.mlc":"bob"}}`,
		"a label of ds01's, large": `{"Name":"x","Labels":{"DS01.owner":"bob"}}`,
	} {
		_, err := admission.ReviewVolume([]byte(body))
		t.Log(name)
		wantProblem(t, err, problem.ErrDenied, "")
	}
	for _, body := range []string{``, `{"Name":"../x"}`, `{"Name":"data._.1002"}`, `{"Name":"data","driverOpts":{}}`, `{"Name":"data"} {}`} {
		_, err := admission.ReviewVolume([]byte(body))
		wantProblem(t, err, problem.ErrInvalid, "")
	}
}
