package installer_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"ds01.dev/ds01/internal/installer"
	"ds01.dev/ds01/internal/network"
)

type networks map[string]bool // by name: whether something is on it

func (n networks) Networks(context.Context) ([]network.Observed, error) {
	var all []network.Observed
	for name := range n {
		all = append(all, network.Observed{ID: name, Name: name})
	}
	return all, nil
}

func (n networks) RemoveNetwork(_ context.Context, id string) error {
	if n[id] {
		return errors.New("has active endpoints")
	}
	delete(n, id)
	return nil
}

func TestNetworksGoUnlessSomethingIsOnThem(t *testing.T) {
	for all, want := range map[bool][]string{
		false: {"bridge", "default._.1001", "mine", "net._.1000"},
		true:  {"bridge", "default._.1001", "mine"},
	} {
		n := networks{"bridge": false, "mine": false, "default._.1000": false, "default._.1001": true, "net._.1000": false}
		stay, err := installer.Tidy(t.Context(), n, all)
		var left []string
		for name := range n {
			left = append(left, name)
		}
		slices.Sort(left)
		if !slices.Equal(left, want) || !slices.Equal(stay, []string{"default._.1001"}) || (err != nil) != all {
			t.Errorf("all %v: left %v, stay %v, %v", all, left, stay, err)
		}
	}
}
