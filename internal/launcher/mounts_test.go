package launcher_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
)

// mounting asks for a container with these mounts and nothing else.
func mounting(binds ...string) admission.Create {
	return admission.Create{Image: "busybox", HostConfig: admission.HostConfig{Binds: binds}}
}

func TestAMountOutsideTheRootsClaimsNothing(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := request()
	r.Body = mounting("/data:/data")
	_, _, err := s.Create(t.Context(), r)
	wantDenied(t, err, "/data can't be mounted")
	s.wantNothing(t)
}

func TestAReadOnlyRootMakesAMountReadOnly(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.bound.Mounts = append(s.bound.Mounts, limits.MountRoot{Path: "/data", ReadOnly: true})
	r := request()
	r.Body = mounting("/data/sets:/sets", "/home/alice:/h")
	record := s.create(t, r)
	if !record.Mounts[0].ReadOnly || record.Mounts[1].ReadOnly {
		t.Errorf("%+v", record.Mounts)
	}
	if got := s.engine.BodyOf(record.ContainerID).HostConfig.Mounts; !got[0].ReadOnly || got[1].ReadOnly {
		t.Errorf("the engine gets %+v", got)
	}
	r.Name, r.Body = "other", mounting("/data/sets:/sets:rw")
	_, _, err := s.Create(t.Context(), r)
	wantDenied(t, err, "read-only")
}

func TestLimitsThatChangedAreSeenAtTheNextStart(t *testing.T) {
	for name, now := range map[string][]limits.MountRoot{
		"the root is gone":          {{Path: "~"}},
		"the root became read-only": {{Path: "~"}, {Path: "/data", ReadOnly: true}},
		"there are none":            nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, admission.UserNS)
			s.bound.Mounts = append(s.bound.Mounts, limits.MountRoot{Path: "/data"})
			r := request()
			r.Body = mounting("/home/alice:/h", "/data:/data")
			record := s.create(t, r)
			before := s.bound.Mounts
			s.bound.Mounts = now
			wantDenied(t, s.Start(t.Context(), record.ID), "can't be mounted")
			if len(s.mounter.mounted) > 0 {
				t.Errorf("left mounted: %v", s.mounter.mounted)
			}
			s.bound.Mounts = before
			if err := s.Start(t.Context(), record.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhereIDsCannotBeMappedTheContainerIsItsOwners(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.mounter.plain = true
	r := request()
	r.Body = mounting("/home/alice/nfs:/w")
	record, warnings, err := s.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "/home/alice/nfs can't map ids") {
		t.Errorf("warnings: %q", warnings)
	}
	if m := record.Mounts[0]; !record.Plain() || m.ContainerUID != 1001 || !slices.Equal(m.Groups, []int{1001, 2000}) {
		t.Errorf("%+v", record.Mounts)
	}
	if body := s.engine.BodyOf(record.ContainerID); body.HostConfig.UsernsMode != "host" || body.User != "1001:1001" {
		t.Errorf("the engine gets %+v", body)
	}
	if err := s.Start(t.Context(), record.ID); err != nil || !s.mounter.last.Plain {
		t.Errorf("%v, mounted %+v", err, s.mounter.last)
	}
}

func TestWhoLeftAGroupCannotStartAContainerThatHasIt(t *testing.T) {
	for mode, kept := range map[admission.Isolation]bool{admission.UserNS: true, admission.UID: false} {
		s := newScene(t, mode)
		r := request()
		r.Body = mounting("/home/alice:/w")
		record := s.create(t, r)
		left := alice()
		left.Groups = []account.Group{{GID: 1001, Name: "alice"}}
		s.who[1001] = left
		err := s.Start(t.Context(), record.ID)
		if kept != (err == nil) { // in a user namespace the mapping leaves the group out
			t.Errorf("%s: %v", mode, err)
		}
		if !kept {
			wantDenied(t, err, "group 2000")
		}
	}
}

func wantDenied(t *testing.T, err error, says string) {
	t.Helper()
	if said := strings.Join(problem.Lines(err), " "); !errors.Is(err, problem.ErrDenied) || !strings.Contains(said, says) {
		t.Errorf("%s; want a denial that says %q", said, says)
	}
}
