package launcher_test

import (
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

func TestADoorIsOpenWhileItsContainerRuns(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := request()
	r.Body = mounting("/var/run/docker.sock:/var/run/docker.sock", "/srv/docker.sock:/s:ro", "/home/alice:/h")
	r.Body.User = "1000:1000"
	record := s.create(t, r)
	if m := record.Mounts; !m[0].Door || m[0].Source != "/var/run/docker.sock" || !m[1].Door || !m[1].ReadOnly || m[2].Door || m[2].ContainerUID != 1000 {
		t.Fatalf("%+v", m)
	}
	if len(s.doors.open) > 0 {
		t.Error("it is open before the container is started")
	}
	if err := s.Start(t.Context(), record.ID); err != nil {
		t.Fatal(err)
	}
	if got := s.doors.open[record.ID]; got.UID != 1001 || got.ContainerID != record.ContainerID || len(s.doors.at) != 2 || s.doors.at[1] != record.Mounts[1].HostPath {
		t.Errorf("%+v at %v", got, s.doors.at)
	}
	during, done, err := s.Copy(t.Context(), record.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	done()
	<-during.Done()
	if len(s.doors.open) != 1 {
		t.Error("a copy closes it")
	}
	if err := s.Cleanup(t.Context(), record); err != nil || len(s.doors.open) > 0 {
		t.Errorf("it outlives its container: %v, %v", s.doors.open, err)
	}
}

func TestADoorAloneMakesNobodyTheOwner(t *testing.T) {
	s := newScene(t, admission.UID)
	r := request()
	r.Body = mounting("/run/docker.sock:/run/docker.sock")
	record := s.create(t, r)
	if got := s.engine.BodyOf(record.ContainerID); got.User != "" || record.HalfMade() || container.AnyFiles(record.Mounts) {
		t.Errorf("it runs as %q; %+v", got.User, record)
	}
}

func TestRootHasNoDoor(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.who[0] = account.Account{Name: "root", Home: "/root"}
	r := request()
	r.Account, r.Body = s.who[0], mounting("/run/docker.sock:/run/docker.sock")
	_, _, err := s.Create(t.Context(), r)
	wantDenied(t, err, "it would speak for root")
	s.wantNothing(t)
}

func TestASiteThatGivesNoDoors(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := request()
	r.Body = mounting("/run/docker.sock:/run/docker.sock")
	record := s.create(t, r)
	s.Doors = nil
	wantDenied(t, s.Start(t.Context(), record.ID), "gateway.doors")
	if got := s.record(t, record.ID).State; got != gpu.Bound {
		t.Errorf("%v", got)
	}
	r.Name = "other"
	_, _, err := s.Create(t.Context(), r)
	wantDenied(t, err, "gateway.doors")
}
