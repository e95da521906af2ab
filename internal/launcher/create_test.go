package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func TestCreateBindsTheClaim(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if r.State != gpu.Bound || r.ContainerID == "" || !r.HeldUntil.Equal(lifecycle.CreatedUntil(noon)) || len(r.Devices) != 1 {
		t.Errorf("got %+v", r)
	}
	o, err := s.engine.ByClaim(t.Context(), r.ID)
	if err != nil || o.ID != r.ContainerID || o.Name != "web._.1001" {
		t.Errorf("the engine has %+v, %v", o, err)
	}
	body := s.engine.BodyOf(r.ContainerID)
	if !strings.HasPrefix(body.Image, "sha256:") || r.Image != "busybox" {
		t.Errorf("the engine was asked for image %q, the record says %q", body.Image, r.Image)
	}
	mounts := body.HostConfig.Mounts
	if len(mounts) != 2 || mounts[0].Source != "/run/ds01/mnt/"+r.ID+"/0" || mounts[1].Source != "/run/ds01/dev/nvidia0" {
		t.Errorf("mounts are %v", mounts)
	}
	if diff := cmp.Diff(map[string]string{
		label.Managed: "true", label.UID: "1001", label.Interface: "docker", label.Created: "2030-05-17T12:00:00Z", label.Claim: r.ID,
		label.GPUUUIDs: "GPU-0", label.GPUSlots: "0",
	}, o.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestPeoplesContainersCarryTheirLabelsAndTheirName(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := request()
	r.Person, r.Interface, r.Body.Image = true, label.Atomic, "busybox"
	record := s.create(t, r)
	o, err := s.engine.Inspect(t.Context(), record.ContainerID)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		label.Login: "alice", label.User: "alice", label.Name: "web", label.Version: "4", label.Framework: "busybox", label.Arch: "-",
		label.GPUs: "1", label.WorkMount: "/home/alice/work", label.DataMount: "-", label.ModelsMount: "-", label.Interface: "atomic",
	} {
		if o.Labels[key] != want {
			t.Errorf("%s is %q, want %q", key, o.Labels[key], want)
		}
	}
	for key, value := range o.Labels {
		if strings.Contains(value, ",") {
			t.Errorf("%s holds a comma: %q", key, value)
		}
	}
	for name, want := range map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nalice:x:1001:1001::/home/alice:/bin/sh\n",
		"/etc/group":  "root:x:0:\nalice:x:1001:\nvision:x:2000:alice\n",
	} {
		if data, err := s.engine.ReadFile(t.Context(), record.ContainerID, name); err != nil || string(data) != want {
			t.Errorf("%s is %q, %v", name, data, err)
		}
	}
	if ok, err := s.engine.Exists(t.Context(), record.ContainerID, "/home/alice"); !ok || err != nil {
		t.Errorf("home: %t, %v", ok, err)
	}
}

// A definite refusal leaves nothing; whatever leaves a doubt keeps the claim
// until somebody has looked.
func TestWhatBecomesOfTheClaimWhenCreateFails(t *testing.T) {
	answer := func(status int) error { return docker.Refusal("refused", status, []byte(`{"message":"no"}`)) }
	for name, c := range map[string]struct {
		err  error
		done bool // the container was made all the same
		kept bool
	}{
		"400":                          {answer(400), false, false},
		"403":                          {answer(403), false, false},
		"404":                          {answer(404), false, false},
		"409":                          {answer(409), false, false},
		"500":                          {answer(500), false, true},
		"500 after the fact":           {answer(500), true, true},
		"502":                          {answer(502), false, true},
		"503":                          {answer(503), false, true},
		"a timeout":                    {context.DeadlineExceeded, true, true},
		"the connection broke":         {&problem.Error{What: "x", Why: problem.Because(problem.ErrUnavailable, io.ErrUnexpectedEOF.Error())}, true, true},
		"an answer that can't be read": {errors.New("unexpected end of JSON input"), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, admission.UserNS)
			s.engine.Fail("Create", c.err, c.done)
			_, _, err := s.Create(t.Context(), request())
			if err == nil {
				t.Fatal("no error")
			}
			if !c.kept {
				s.wantNothing(t)
				return
			}
			if !errors.Is(err, problem.ErrUnavailable) || problem.Describe(err).Next == "" {
				t.Errorf("got %v", err)
			}
			records := s.Ledger.Records()
			if len(records) != 1 || records[0].State != gpu.Pending || len(records[0].Devices) != 1 {
				t.Fatalf("records are %+v", records)
			}
			if _, err := s.engine.ByClaim(t.Context(), records[0].ID); (err == nil) != c.done {
				t.Errorf("by its claim: %v", err)
			}
		})
	}
}

func TestAClientThatHangsUpLeavesNoHalfCreate(t *testing.T) {
	s := newScene(t, admission.UserNS)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Create(ctx, request()); err != nil {
		t.Fatal(err)
	}
	if records := s.Ledger.Records(); len(records) != 1 || records[0].State != gpu.Bound {
		t.Errorf("records are %+v", records)
	}
}

func TestWhoGetsSeveralInstancesIsToldWhatAProgramSees(t *testing.T) {
	s, r := newScene(t, admission.UserNS), request()
	for i := range 2 {
		s.devices = append(s.devices, gpu.Device{UUID: fmt.Sprint("MIG-", i), Slot: fmt.Sprint("1.", i), Card: 1, Instance: i, Profile: "1g.10gb", Share: quantity.ShareOf(1, 7)})
	}
	s.bound.MaxDevices, s.bound.MaxGPUsPerContainer = quantity.To(2), quantity.To(2)
	r.Body.HostConfig.DeviceRequests[0].Count = 2
	told := s.Try(t.Context(), r).Told
	_, warnings, err := s.Create(t.Context(), r)
	for _, notes := range [][]string{told, warnings} {
		if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "A CUDA program sees one of them") {
			t.Errorf("told %q, %v", notes, err)
		}
	}
}

func TestAnAdministratorChoosesADevice(t *testing.T) {
	s, r := newScene(t, admission.UserNS), request()
	r.Body.HostConfig.DeviceRequests[0] = admission.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"ds01.io/gpu=0"}}
	r.Roles.Admin = true
	if record, _, err := s.Create(t.Context(), r); err != nil || len(record.Devices) != 1 || record.Devices[0].Slot != "0" {
		t.Errorf("got %+v, %v", record.Devices, err)
	}
}

func TestWhatIsRefusedBeforeTheEngineIsAskedLeavesNothing(t *testing.T) {
	refused := problem.Because(problem.ErrDenied, "not yours")
	noLibraries := problem.Because(problem.ErrUnavailable, "no CDI")
	for name, c := range map[string]struct {
		prepare func(*scene, *launcher.Request)
		kind    error
		says    string
	}{
		"a mount that isn't theirs": {func(s *scene, _ *launcher.Request) { s.mounter.refuse["Prepare"] = refused }, problem.ErrDenied, "not yours"},
		"no group for their totals": {func(s *scene, _ *launcher.Request) { s.cgroups.err = errors.New("read-only") }, nil, "read-only"},
		"a field that is refused":   {func(_ *scene, r *launcher.Request) { r.Body.HostConfig.IpcMode = "host" }, problem.ErrDenied, "IpcMode"},
		"over a limit":              {func(_ *scene, r *launcher.Request) { r.Body.HostConfig.Memory = 2 << 30 }, problem.ErrLimit, "--memory 2GiB"},
		"not allowed GPUs":          {func(_ *scene, r *launcher.Request) { r.Roles.GPU = false }, problem.ErrDenied, "may not hold GPUs"},
		"more GPUs than allowed":    {func(_ *scene, r *launcher.Request) { r.Body.HostConfig.DeviceRequests[0].Count = 2 }, problem.ErrLimit, "2>1"},
		"a GPU by its slot": {func(_ *scene, r *launcher.Request) {
			r.Body.HostConfig.DeviceRequests[0] = admission.DeviceRequest{DeviceIDs: []string{"0"}, Capabilities: [][]string{{"gpu"}}}
		}, problem.ErrDenied, "isn't reserved for you"},
		"an image that isn't there":  {func(_ *scene, r *launcher.Request) { r.Body.Image = "none" }, problem.ErrNotFound, "none"},
		"an image of somebody else":  {func(s *scene, r *launcher.Request) { own(s, 1002); r.Body.Image = "ds01-1002/x:latest" }, problem.ErrNotFound, "No such image"},
		"no way for libraries to it": {func(s *scene, _ *launcher.Request) { s.librariesErr = noLibraries }, problem.ErrUnavailable, "no CDI"},
		"an image checked all the time": {func(s *scene, r *launcher.Request) {
			s.engine.AddImage(container.Image{ID: "sha256:f", Names: []string{"busy:latest"}, Probes: container.Probes{Interval: 1}})
			r.Body.Image = "busy:latest"
		}, problem.ErrDenied, "health check"},
		"a mount on the wrong target": {func(_ *scene, r *launcher.Request) { r.Body.HostConfig.Binds = []string{"/home/alice:/proc"} }, problem.ErrDenied, "/proc"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, admission.UserNS)
			r := request()
			c.prepare(s, &r)
			_, _, err := s.Create(t.Context(), r)
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			s.wantNothing(t)
		})
	}
}

func TestWithoutLibrariesOnlyGPUsAreNotGranted(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.librariesErr = problem.Because(problem.ErrUnavailable, "no CDI")
	r := request()
	r.Body.HostConfig.DeviceRequests = nil
	s.create(t, r)
}

func own(s *scene, uid int) {
	name := "ds01-1001/x:latest"
	if uid == 1002 {
		name = "ds01-1002/x:latest"
	}
	s.engine.AddImage(container.Image{ID: "sha256:" + strings.Repeat("c", 64), Names: []string{name}})
}

func TestOnesOwnImageIsServedAndAnAdminsChoiceIsFree(t *testing.T) {
	s := newScene(t, admission.UserNS)
	own(s, 1001)
	r := request()
	r.Body.Image = "ds01-1001/x:latest"
	s.create(t, r)
	own(s, 1002)
	r.Name, r.Body.Image, r.Roles.Admin, r.Body.HostConfig.DeviceRequests = "other", "ds01-1002/x:latest", true, nil
	s.create(t, r)
}

func TestWithoutTheEnginesWordOnIsolationNothingIsCreated(t *testing.T) {
	s := newScene(t, "")
	if _, _, err := s.Create(t.Context(), request()); !errors.Is(err, problem.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	s.wantNothing(t)
}

func TestWhatCannotBeFinishedIsTakenBack(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := request()
	r.Person = true
	s.engine.Fail("WriteFiles", errors.New("disk full"), false)
	if _, _, err := s.Create(t.Context(), r); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
	s.wantNothing(t)
	s.engine.Fail("WriteFiles", errors.New("disk full"), false)
	s.engine.Fail("Remove", errors.New("gone away"), false)
	if _, _, err := s.Create(t.Context(), r); err == nil {
		t.Fatal("no error")
	}
	if records := s.Ledger.Records(); len(records) != 1 || records[0].State != gpu.Pending {
		t.Errorf("what couldn't be removed must keep its record: %+v", records)
	}
}

// Nobody is told of a container whose claim a power cut could still take back.
func TestAClaimThatDoesNotReachTheDiskIsTakenBack(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.disk.err = errors.New("input/output error")
	if _, _, err := s.Create(t.Context(), request()); !errors.Is(err, problem.ErrUnavailable) || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("got %v", err)
	}
	s.wantNothing(t)
}

func TestUsersAreResolvedByTheContainersOwnFiles(t *testing.T) {
	for name, c := range map[string]struct {
		user, image string
		uid, gid    int
		fails       bool
	}{
		"nobody named":               {"", "", 0, 0, false},
		"numbers":                    {"7:8", "", 7, 8, false},
		"the image's numbers":        {"", "7:8", 7, 8, false},
		"the request wins":           {"7:8", "1:1", 7, 8, false},
		"a name":                     {"root", "", 0, 0, false},
		"a name of the image":        {"", "root", 0, 0, false},
		"a uid that passwd knows":    {"0", "", 0, 0, false},
		"a uid that nobody knows":    {"4711", "", 4711, 0, false},
		"a name and a group":         {"root:root", "", 0, 0, false},
		"a uid and a group's number": {"4711:12", "", 4711, 12, false},
		"a name that nobody has":     {"mallory", "", 0, 0, true},
		"a group that nobody has":    {"root:wheel", "", 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, admission.UserNS)
			id := "sha256:" + strings.Repeat("d", 64)
			s.engine.AddImage(container.Image{ID: id, Names: []string{"tool:latest"}, User: c.image})
			r := request()
			r.Body.Image, r.Body.User = "tool:latest", c.user
			record, _, err := s.Create(t.Context(), r)
			if c.fails {
				if !errors.Is(err, problem.ErrInvalid) {
					t.Errorf("got %v", err)
				}
				s.wantNothing(t)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m := s.record(t, record.ID).Mounts[0]; m.ContainerUID != c.uid || m.ContainerGID != c.gid {
				t.Errorf("files are %d:%d's", m.ContainerUID, m.ContainerGID)
			}
		})
	}
}

func TestFilesInADevContainerAreItsRemoteUsers(t *testing.T) {
	for name, c := range map[string]struct {
		metadata, user string
		uid, gid       int
	}{
		"a remote user":              {`[{"remoteUser":"root"}]`, "7:8", 0, 0},
		"by number":                  {`[{"remoteUser":"4711"}]`, "", 4711, 0},
		"the last one holds":         {`[{"remoteUser":"1"},{"remoteUser":"4711"},{"init":true}]`, "root", 4711, 0},
		"none":                       {`[{"init":true}]`, "7:8", 7, 8},
		"a variable of the editor's": {`[{"remoteUser":"1"},{"remoteUser":"${localEnv:USER}"}]`, "7:8", 7, 8},
		"no list":                    {`{"remoteUser":"4711"}`, "7:8", 7, 8},
		"no name":                    {`[{"remoteUser":4711}]`, "7:8", 7, 8},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, admission.UserNS)
			r := request()
			r.Body.User, r.Body.Labels = c.user, map[string]string{"devcontainer.metadata": c.metadata}
			record := s.create(t, r)
			if m := s.record(t, record.ID).Mounts[0]; m.ContainerUID != c.uid || m.ContainerGID != c.gid {
				t.Errorf("files are %d:%d's", m.ContainerUID, m.ContainerGID)
			}
			if ran := s.engine.BodyOf(record.ContainerID).User; ran != c.user {
				t.Errorf("it runs as %q", ran)
			}
		})
	}
}

func TestARemoteUserThatTheImageHasNotIsRefused(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := request()
	r.Body.Labels = map[string]string{"devcontainer.metadata": `[{"remoteUser":"mallory"}]`}
	_, _, err := s.Create(t.Context(), r)
	if !errors.Is(err, problem.ErrInvalid) || !strings.Contains(err.Error(), `no user "mallory"`) {
		t.Errorf("got %v", err)
	}
	s.wantNothing(t)
}

func TestWithMountsPeopleAreThemselvesWhereTheEngineDoesNotRemap(t *testing.T) {
	s := newScene(t, admission.UID)
	r := s.create(t, request())
	if m := r.Mounts[0]; m.ContainerUID != 1001 || s.engine.BodyOf(r.ContainerID).User != "1001:1001" {
		t.Errorf("mount %+v, user %q", m, s.engine.BodyOf(r.ContainerID).User)
	}
}
