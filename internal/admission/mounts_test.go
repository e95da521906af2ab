package admission_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
)

// roots are alice's on a host that has moved some folders.
func roots() []admission.MountRoot {
	return []admission.MountRoot{
		{Path: "/home/alice", Real: "/data/home/alice", Home: true},
		{Path: "/data", Real: "/data"},
		{Path: "/sets", Real: "/data/sets", ReadOnly: true},
		{Path: "/srv/groups/vision", Real: "/srv/groups/vision"},
		{Path: "/srv/old", Real: "/srv/old", ReadOnly: true},
		{Path: "/srv/old/open", Real: "/srv/old/open"},
	}
}

func TestWhereMountsMayComeFrom(t *testing.T) {
	const ro, rw, open = "ro", "rw", ""
	for name, tt := range map[string]struct {
		source, mode string
		kind         error
		says         string // of the refusal; else "ro" or "rw", and whose
	}{
		"the home":                                       {source: "/home/alice", says: "rw home"},
		"in the home, to be written":                     {source: "/home/alice/x", mode: rw, says: "rw home"},
		"the home where it really is":                    {source: "/data/home/alice/x", says: "rw home"},
		"a group space":                                  {source: "/srv/groups/vision/run", says: "rw shared"},
		"a shared folder, read-only":                     {source: "/data/x", mode: ro, says: "ro shared"},
		"a read-only folder of which nothing is said":    {source: "/sets/imagenet", says: "ro shared"},
		"a read-only folder where it really is":          {source: "/data/sets/imagenet", says: "ro shared"},
		"a read-only folder, read-only":                  {source: "/sets", mode: ro, says: "ro shared"},
		"an open folder in a read-only one":              {source: "/srv/old/open/x", mode: rw, says: "rw shared"},
		"around a read-only folder, read-only":           {source: "/data", mode: ro, says: "ro shared"},
		"a read-only folder to be written":               {source: "/sets/imagenet", mode: rw, kind: problem.ErrDenied, says: "/sets is read-only"},
		"the same where it really is":                    {source: "/data/sets/x", mode: rw, kind: problem.ErrDenied, says: "read-only"},
		"around a read-only folder":                      {source: "/data", mode: open, kind: problem.ErrDenied, says: "/sets below it is read-only"},
		"a neighbour whose name begins alike":            {source: "/srv/groups/vision2", kind: problem.ErrDenied, says: "doesn't lie in"},
		"above a group space":                            {source: "/srv/groups", kind: problem.ErrDenied, says: "doesn't lie in"},
		"another's home":                                 {source: "/home/bob", kind: problem.ErrDenied, says: "doesn't lie in"},
		"somebody's socket of Docker's":                  {source: "/run/user/1001/docker.sock", kind: problem.ErrDenied, says: "it isn't the socket where people find Docker here"},
		"the host":                                       {source: "/", kind: problem.ErrDenied, says: "doesn't lie in"},
		"another's home by a shared folder, by its name": {source: "/data/home/bob", says: "rw shared"}, // with alice's rights
	} {
		t.Run(name, func(t *testing.T) {
			ask := admission.MountAsk{Source: tt.source, Target: "/w", ReadOnly: tt.mode == ro, Writable: tt.mode == rw}
			got, root, err := admission.AllowMount(ask, roots(), limits.Limits{})
			if tt.kind != nil {
				wantProblem(t, err, tt.kind, tt.says)
				return
			}
			said := map[bool]string{true: "ro", false: "rw"}[got.ReadOnly] + map[bool]string{true: " home", false: " shared"}[root.Home]
			if err != nil || said != tt.says {
				t.Errorf("%s, %v; want %s", said, err, tt.says)
			}
			if !strings.HasPrefix(tt.source, root.Path) && !strings.HasPrefix(tt.source, root.Real) {
				t.Errorf("the root is %+v", root)
			}
		})
	}
	_, _, err := admission.AllowMount(admission.MountAsk{Source: "/data"}, nil, limits.Limits{})
	wantProblem(t, err, problem.ErrDenied, "doesn't lie in")
	two := []admission.MountRoot{{Path: "/a", Real: "/x", ReadOnly: true}, {Path: "/b", Real: "/x"}}
	if got, _, err := admission.AllowMount(admission.MountAsk{Source: "/b/c"}, two, limits.Limits{}); err != nil || !got.ReadOnly {
		t.Errorf("one folder by two names is %+v, %v; want the stricter mode", got, err)
	}
}

func TestARefusedMountNamesTheRule(t *testing.T) {
	s := subject(t, admission.UserNS)
	_, _, err := admission.AllowMount(admission.MountAsk{Source: "/data"}, admission.MountRoots(s.Account, s.Limits), s.Limits)
	if lines := strings.Join(problem.Lines(err), "\n"); !strings.Contains(lines, "(mounts: built-in)") || !strings.Contains(lines, "/home/alice.") {
		t.Errorf("%s", lines)
	}
}

func TestThatAMountMustBeWritableIsReadFromTheRequest(t *testing.T) {
	c, err := admission.DecodeCreate([]byte(host(`"Binds":["/a:/a","/b:/b:rw","/c:/c:ro","/d:/d:z,rw","/e:/e:rw,ro"],
		"Mounts":[{"Type":"bind","Source":"/f","Target":"/f","BindOptions":{"NonRecursive":true}}]`)))
	if err != nil {
		t.Fatal(err)
	}
	ask, err := c.Ask()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range ask.Mounts {
		text := m.Source
		for word, is := range map[string]bool{"w": m.Writable, "r": m.ReadOnly, "n": m.Alone} {
			if is {
				text += word
			}
		}
		got = append(got, text)
	}
	if want := []string{"/a", "/bw", "/cr", "/dw", "/er", "/fn"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestGroupsThatWereLeftKeepAContainerFromStarting(t *testing.T) {
	who := account.Account{UID: 7, GID: 7, Groups: []account.Group{{GID: 7}, {GID: 2000}}}
	if err := admission.CheckGroups("web", []int{7, 2000}, who); err != nil {
		t.Error(err)
	}
	if err := admission.CheckGroups("web", nil, who); err != nil {
		t.Error(err)
	}
	wantProblem(t, admission.CheckGroups("web", []int{7, 2000, 2001}, who), problem.ErrDenied, "group 2001")
	who.GID = 8
	who.Groups = nil
	wantProblem(t, admission.CheckGroups("web", []int{7}, who), problem.ErrDenied, "group 7")
}

// plain reviews a body whose first mount's file system can't map ids.
func plain(t *testing.T, isolation admission.Isolation, body string, imageMakes ...string) (admission.Create, error) {
	t.Helper()
	c, err := admission.DecodeCreate([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	ask, err := c.Ask()
	if err != nil {
		t.Fatal(err)
	}
	g := grant(ask)
	g.Mounts[0].Plain = true
	g.ImageMakes = imageMakes
	return admission.Review(c, subject(t, isolation), g)
}

func TestWhereIDsCannotBeMappedAContainerRunsAsItsOwner(t *testing.T) {
	both(t, func(t *testing.T, mode admission.Isolation) {
		c, err := plain(t, mode, `{"Image":"x","HostConfig":{"Binds":["/nfs/alice:/w","/home/alice:/h"]}}`)
		if err != nil {
			t.Fatal(err)
		}
		h := c.HostConfig
		if c.User != "1001:1001" || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Equal(h.SecurityOpt, []string{"no-new-privileges"}) {
			t.Errorf("it runs as %q with %v %v", c.User, h.CapDrop, h.SecurityOpt)
		}
		if want := map[admission.Isolation]string{admission.UserNS: "host", admission.UID: ""}[mode]; h.UsernsMode != want {
			t.Errorf("user namespace %q, want %q", h.UsernsMode, want)
		}
		for name, body := range map[string]string{
			"root":                         `{"Image":"x","User":"0","HostConfig":{"Binds":["/nfs/alice:/w"]}}`,
			"a group that isn't hers":      `{"Image":"x","HostConfig":{"Binds":["/nfs/alice:/w"],"GroupAdd":["6"]}}`,
			"a group by name":              `{"Image":"x","HostConfig":{"Binds":["/nfs/alice:/w"],"GroupAdd":["disk"]}}`,
			"a mount inside the mount":     `{"Image":"x","HostConfig":{"Binds":["/nfs/alice:/w","/home/alice:/w/new"]}}`,
			"a tmpfs inside the mount":     `{"Image":"x","HostConfig":{"Binds":["/nfs/alice:/w"],"Tmpfs":{"/w/new":""}}}`,
			"work inside the mount":        `{"Image":"x","WorkingDir":"/w/new","HostConfig":{"Binds":["/nfs/alice:/w"]}}`,
			"the engine's files inside it": `{"Image":"x","HostConfig":{"Binds":["/nfs/alice:/etc"]}}`,
		} {
			_, err := plain(t, mode, body)
			if !errors.Is(err, problem.ErrDenied) {
				t.Errorf("%s: %v, want it denied", name, err)
			}
		}
		for name, body := range map[string]string{
			"work in the mount itself":     `{"Image":"x","WorkingDir":"/w","HostConfig":{"Binds":["/nfs/alice:/w"]}}`,
			"inside, where it's ro":        `{"Image":"x","WorkingDir":"/w/new","HostConfig":{"Binds":["/nfs/alice:/w:ro"]}}`,
			"inside another that's mapped": `{"Image":"x","WorkingDir":"/h/new","HostConfig":{"Binds":["/nfs/alice:/w","/home/alice:/h"]}}`,
		} {
			if _, err := plain(t, mode, body); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAnImageMakesNothingAsTheHostsRoot(t *testing.T) {
	const body = `{"Image":"x","HostConfig":{"Binds":["/nfs/alice:/w"]}}`
	for makes, kind := range map[string]error{"": nil, "/w": nil, "/x": nil, "/w/new": problem.ErrDenied, "w/new": problem.ErrDenied, "/x/../w/new": problem.ErrDenied} {
		if _, err := plain(t, admission.UserNS, body, "/", makes); !errors.Is(err, kind) {
			t.Errorf("%q: %v, want %v", makes, err, kind)
		}
	}
}

func TestTheWarningOfAPlainMountIsForRemappedEngines(t *testing.T) {
	mounts := []container.Mount{{Source: "/home/alice"}, {Source: "/nfs/alice", Plain: true}}
	if w := admission.PlainWarning(mounts, subject(t, admission.UserNS)); !strings.Contains(w, "/nfs/alice can't map ids") || !strings.Contains(w, "1001:1001") {
		t.Errorf("%q", w)
	}
	if w := admission.PlainWarning(mounts, subject(t, admission.UID)) + admission.PlainWarning(mounts[:1], subject(t, admission.UserNS)); w != "" {
		t.Errorf("%q", w)
	}
}

func TestWhichPathsMeanADoor(t *testing.T) {
	const gateway = "/srv/lab/run/docker.sock"
	for _, source := range []string{"/var/run/docker.sock", "/run/docker.sock", gateway} {
		if !admission.IsDoor(source, gateway) {
			t.Errorf("%s means none", source)
		}
	}
	for _, source := range []string{"/var/run", "/run/ds01/engine.sock", "/run/ds01/ds01.sock", "/home/alice/docker.sock", "/proc/1/root/run/docker.sock", "/"} {
		if admission.IsDoor(source, gateway) {
			t.Errorf("%s means one", source)
		}
	}
}

func TestWhoMayHaveADoor(t *testing.T) {
	who := subject(t, admission.UserNS).Account
	if err := admission.AllowDoor("/run/docker.sock", who, true); err != nil {
		t.Error(err)
	}
	wantProblem(t, admission.AllowDoor("/run/docker.sock", who, false), problem.ErrDenied, "gateway.doors")
	who.UID = 0
	wantProblem(t, admission.AllowDoor("/run/docker.sock", who, true), problem.ErrDenied, "it would speak for root")
}

func TestADoorIsNoDirectoryOfTheHosts(t *testing.T) {
	s := subject(t, admission.UID)
	door := container.Mount{Source: "/run/docker.sock", Target: "/run/docker.sock", HostPath: "/run/ds01/mnt/x/0", Door: true}
	c, err := admission.Review(admission.Create{Image: "busybox", User: "root"}, s, admission.Grant{Mounts: []container.Mount{door}})
	if err != nil || c.User != "root" || len(c.HostConfig.GroupAdd) > 0 {
		t.Errorf("it runs as %q with the groups %v, %v", c.User, c.HostConfig.GroupAdd, err)
	}
	if m := c.HostConfig.Mounts; len(m) != 1 || m[0].Source != door.HostPath || m[0].Target != door.Target {
		t.Errorf("the engine gets %+v", m)
	}
	beside := []container.Mount{door, {Source: "/home/alice", Target: "/w", HostPath: "/run/ds01/mnt/x/1"}}
	if c, err = admission.Review(admission.Create{Image: "busybox"}, s, admission.Grant{Mounts: beside}); err != nil || c.User == "" {
		t.Errorf("beside a directory it runs as %q, %v", c.User, err)
	}
}
