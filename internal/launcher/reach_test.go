package launcher_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker/dockertest"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
)

// plain asks for a container with nothing but what edit adds.
func plain(name string, edit func(*admission.Create)) launcher.Request {
	r := request()
	r.Name, r.Body = name, admission.Create{Image: "busybox"}
	if edit != nil {
		edit(&r.Body)
	}
	return r
}

func TestAContainerJoinsItsOwnersDefaultNetwork(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.served = true
	r := s.create(t, plain("web", nil))
	body := s.engine.BodyOf(r.ContainerID)
	if body.HostConfig.NetworkMode != "default._.1001" || !slices.Equal(body.NetworkingConfig.EndpointsConfig["default._.1001"].Aliases, []string{"web"}) {
		t.Errorf("got %+v", body)
	}
	if _, err := s.registrar.Network(1001, "bridge"); err != nil {
		t.Error(err)
	}
}

func TestWithoutNetworksAContainerHasNone(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, plain("web", nil))
	if got := s.engine.BodyOf(r.ContainerID).HostConfig.NetworkMode; got != "default" {
		t.Errorf("got %q", got)
	}
	_, _, err := s.Create(t.Context(), plain("more", func(c *admission.Create) {
		c.HostConfig.PortBindings = map[string][]admission.PortBinding{"80/tcp": nil}
	}))
	if !errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), "runs without networks") {
		t.Errorf("ports: %v", err)
	}
}

func TestOnlyOnesOwnIsReached(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.served = true
	theirs, err := s.registrar.CreateNetwork(t.Context(), 1002, "theirs", network.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	own, err := s.registrar.CreateNetwork(t.Context(), 1001, "own", network.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	first := s.create(t, plain("first", func(c *admission.Create) {
		c.HostConfig.NetworkMode = own.ID[:12]
		c.NetworkingConfig.EndpointsConfig = map[string]*admission.Endpoint{own.ID[:12]: {Aliases: []string{"db", "first"}}}
	}))
	if body := s.engine.BodyOf(first.ContainerID); body.HostConfig.NetworkMode != "own._.1001" || !slices.Equal(body.NetworkingConfig.EndpointsConfig["own._.1001"].Aliases, []string{"db", "first"}) {
		t.Errorf("got %+v", body)
	}
	second := s.create(t, plain("second", func(c *admission.Create) { c.HostConfig.NetworkMode = "container:first" }))
	if got := s.engine.BodyOf(second.ContainerID).HostConfig.NetworkMode; got != "container:"+first.ContainerID {
		t.Errorf("got %q", got)
	}
	for _, mode := range []string{"theirs", theirs.ID, "theirs._.1002", "default._.1002", "nobodys", "container:nobody", "host"} {
		_, _, err := s.Create(t.Context(), plain("x", func(c *admission.Create) { c.HostConfig.NetworkMode = mode }))
		if !errors.Is(err, problem.ErrInvalid) && !errors.Is(err, problem.ErrDenied) {
			t.Errorf("%s: %v", mode, err)
		}
	}
	_, _, err = s.Create(t.Context(), plain("x", func(c *admission.Create) {
		c.NetworkingConfig.EndpointsConfig = map[string]*admission.Endpoint{"theirs": nil}
	}))
	if !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("by its endpoint: %v", err)
	}
	if len(s.Ledger.Records()) != 2 {
		t.Errorf("left: %v", s.Ledger.Records())
	}
}

func TestLinksAreNamesOfOnesOwnContainers(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.served = true
	db := s.create(t, plain("db", nil))
	link := func(links ...string) launcher.Request {
		return plain("web", func(c *admission.Create) { c.HostConfig.Links = links })
	}
	for _, other := range []string{"nobody", "db._.1002"} {
		if _, _, err := s.Create(t.Context(), link(other+":store")); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%s: %v", other, err)
		}
	}
	web := s.create(t, link("db:store", "/"+db.ContainerID[:12]+":kept"))
	body := s.engine.BodyOf(web.ContainerID)
	if got := body.NetworkingConfig.EndpointsConfig["default._.1001"].Links; !slices.Equal(got, []string{"db:store", "db:kept"}) || len(body.HostConfig.Links) > 0 {
		t.Errorf("got %v, %v", got, body.HostConfig.Links)
	}
	s.served = false
	for other, kind := range map[string]error{"nobody": problem.ErrInvalid, "db": problem.ErrDenied} {
		r := link(other)
		r.Name = "more"
		if _, _, err := s.Create(t.Context(), r); !errors.Is(err, kind) {
			t.Errorf("without networks, %s: %v", other, err)
		}
	}
}

func TestVolumesAreTheirOwnersFromTheStart(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.engine.AddImage(container.Image{ID: "sha256:v", Names: []string{"voluminous:latest", "voluminous"}, Volumes: []string{"/declared"}})
	r := s.create(t, plain("web", func(c *admission.Create) {
		c.Image = "voluminous"
		c.HostConfig.Binds = []string{"data:/data"}
		c.Volumes = map[string]struct{}{"/loose": {}}
	}))
	own := s.registrar.VolumesOf(1001)
	if len(own) != 3 || !slices.ContainsFunc(s.engine.BodyOf(r.ContainerID).HostConfig.Mounts, func(m dockertest.BodyMount) bool {
		return m.Type == "volume" && m.Source == "data._.1001" && m.Target == "/data"
	}) {
		t.Errorf("alice has %+v", own)
	}
	if labels := s.engine.LabelsOf("data._.1001"); labels["aime.mlc.DS01_UID"] != "1001" {
		t.Errorf("labels %v", labels)
	}
	from := s.create(t, plain("again", func(c *admission.Create) { c.HostConfig.VolumesFrom = []string{"web:ro"} }))
	var targets []string
	for _, m := range s.engine.BodyOf(from.ContainerID).HostConfig.Mounts {
		targets = append(targets, m.Target)
	}
	if slices.Sort(targets); !slices.Equal(targets, []string{"/data", "/declared", "/loose"}) {
		t.Errorf("volumes from web: %v", targets)
	}
	for _, from := range []string{"nobody", "web:rshared"} {
		if _, _, err := s.Create(t.Context(), plain("x", func(c *admission.Create) { c.HostConfig.VolumesFrom = []string{from} })); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%s: %v", from, err)
		}
	}
}

func TestARefusedContainerLeavesNoVolume(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.config.Volumes.PerPerson = 1
	_, _, err := s.Create(t.Context(), plain("web", func(c *admission.Create) { c.Volumes = map[string]struct{}{"/a": {}, "/b": {}} }))
	if !errors.Is(err, problem.ErrLimit) {
		t.Errorf("over the limit: %v", err)
	}
	_, _, err = s.Create(t.Context(), plain("web", func(c *admission.Create) {
		c.HostConfig.Binds, c.HostConfig.OomScoreAdj = []string{"data:/data"}, -1
	}))
	if !errors.Is(err, problem.ErrDenied) {
		t.Errorf("not allowed: %v", err)
	}
	s.wantNothing(t)
	if own := s.registrar.VolumesOf(1001); len(own) > 0 {
		t.Errorf("left: %v", own)
	}
}

func TestPortsAreFixedWhenAContainerIsMade(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.served = true
	s.engine.AddImage(container.Image{ID: "sha256:e", Names: []string{"notebook:latest", "notebook"}, Exposed: []string{"8888/tcp"}})
	r := s.create(t, plain("web", func(c *admission.Create) { c.Image, c.HostConfig.PublishAllPorts = "notebook", true }))
	if got := s.engine.BodyOf(r.ContainerID).HostConfig.PortBindings["8888/tcp"]; len(got) != 1 || got[0].HostIP != "127.0.0.1" || got[0].HostPort != "20000" {
		t.Errorf("sent %+v", got)
	}
	again := s.create(t, plain("more", func(c *admission.Create) {
		c.HostConfig.PortBindings = map[string][]admission.PortBinding{"80/tcp": nil}
	}))
	if again.Ports[0].Host != 20001 {
		t.Errorf("the next: %+v", again.Ports)
	}
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
	s.config.Ports.Range = "30000-59999"
	if err := s.Start(t.Context(), again.ID); !errors.Is(err, problem.ErrDenied) || !strings.Contains(problem.OneLine(err), "30000-30099") {
		t.Errorf("a port that isn't hers any more: %v", err)
	}
}

func TestADefaultNetworkThatWentComesBackAtTheStart(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.served = true
	r := s.create(t, plain("web", nil))
	n, err := s.registrar.Network(1001, "bridge")
	if err != nil {
		t.Fatal(err)
	}
	s.engine.DropNetwork(n.ID)
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if again, err := s.registrar.Network(1001, "bridge"); err != nil || again.ID == n.ID {
		t.Errorf("got %+v, %v", again, err)
	}
	own, err := s.registrar.CreateNetwork(t.Context(), 1001, "own", network.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	other := s.create(t, plain("other", func(c *admission.Create) { c.HostConfig.NetworkMode = "own" }))
	s.engine.DropNetwork(own.ID) // which its owner has removed
	if err := s.Start(t.Context(), other.ID); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("without its own network: %v", err)
	}
}
