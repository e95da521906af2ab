package reconciler_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/network"
)

func TestWhatGoesAtTheEngineIsForgotten(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		s.served = true
		unlock := s.registrar.LockVolumes("data._.1001")
		_, err := s.registrar.EnsureVolume(t.Context(), 1001, "data", false, nil)
		unlock()
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.registrar.CreateNetwork(t.Context(), 1001, "net", network.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the news of their making is heard
		bubble.Wait()
		if _, err := s.registrar.Network(1001, "net"); err != nil || len(s.registrar.VolumesOf(1001)) != 1 {
			t.Errorf("made: %v, %v", err, s.registrar.VolumesOf(1001))
		}
		s.engine.DropVolume("data._.1001")
		s.engine.DropNetwork(n.ID)
		bubble.Wait()
		if _, err := s.registrar.Network(1001, "net"); err == nil || len(s.registrar.VolumesOf(1001)) != 0 {
			t.Errorf("gone: %v, %v", err, s.registrar.VolumesOf(1001))
		}
	})
}

func TestVolumesOfACreateThatWasNotAnsweredAreItsOwners(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		s.engine.Fail("Create", errors.New("connection reset"), true)
		r := launcher.Request{Account: account.Account{UID: 1001, GID: 1001, Name: "alice"}, Name: "web", Body: admission.Create{Image: "busybox", Volumes: map[string]struct{}{"/loose": {}}}}
		r.Body.HostConfig.Binds = []string{"data:/data"}
		if _, _, err := s.launcher.Create(t.Context(), r); err == nil {
			t.Fatal("it was answered")
		}
		bubble.Wait()
		own := s.registrar.VolumesOf(1001)
		if len(own) != 2 || own[0].Anonymous == own[1].Anonymous {
			t.Errorf("alice has %+v", own)
		}
	})
}

func TestWhoKeepsImagesHearsOfThoseWithANewName(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		bubble.Wait()
		if err := s.engine.TagImage(t.Context(), "busybox", "ds01-1001/x:1"); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		if !slices.Equal(s.named, []string{"sha256:" + strings.Repeat("b", 64)}) {
			t.Errorf("heard of %v", s.named)
		}
	})
}
