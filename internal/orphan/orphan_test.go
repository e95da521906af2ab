package orphan_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/orphan"
	"ds01.dev/ds01/internal/volume"
)

var (
	now  = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)
	here = strings.Repeat("a", 64) // a container that the engine has
	gone = strings.Repeat("b", 64)
)

const (
	known   = "1111111111111111" // a claim that ds01 has a record of
	unknown = "9999999999999999"
)

// world is one in which everything has its place.
func world() orphan.Facts {
	return orphan.Facts{
		Now:    now,
		Mounts: []string{known + "/0"}, Given: []string{here}, Doors: []string{known},
		Groups:     []orphan.Level{{Path: "u1001", Processes: 1, Children: 1}, {Path: "u1001/" + here, Processes: 1}, {Path: "u1002"}},
		Containers: []container.Observed{{ID: here, Name: "web._.1001", State: "running"}},
		Seen:       []container.Observed{{ID: here, Name: "web._.1001", Networks: map[string]string{"default._.1001": "n1"}}},
		Networks:   []network.Observed{{ID: "n1", Name: "default._.1001"}, {ID: "n2", Name: "bridge"}, {ID: "n3", Name: "somebody's"}},
		Volumes:    []string{"data._.1001", "other"}, Images: []string{"busybox:latest", "aimehub/pytorch:web._.1001"},
		Records:     []container.Record{{Claim: gpu.Claim{ID: known, UID: 1001, Name: "web", State: gpu.Running, ContainerID: here, CreatedAt: now.Add(-time.Hour)}, Login: "alice"}},
		OwnNetworks: []network.Record{{UID: 1001, EngineName: "default._.1001", ID: "n1", Subnet: netip.MustParsePrefix("10.0.0.0/29"), CreatedAt: now.Add(-time.Hour)}},
		OwnVolumes:  []volume.Record{{UID: 1001, EngineName: "data._.1001", CreatedAt: now.Add(-time.Hour)}},
	}
}

func TestFind(t *testing.T) {
	strange := container.Observed{ID: gone, Name: "old._.1001", State: "exited", Mounts: []container.Mounted{{Source: "/run/ds01/mnt/" + unknown + "/0"}}, Networks: map[string]string{"lab._.1002": "n9"}}
	for name, c := range map[string]struct {
		change func(*orphan.Facts)
		want   string // kind, object, uid and whether it may be taken away; "": nothing
	}{
		"everything has its place": {func(*orphan.Facts) {}, ""},
		"a claim whose container has gone": {func(f *orphan.Facts) {
			f.Records[0].ContainerID = gone
		}, "claim " + known + " 1001 true"},
		"a claim that has just been made": {func(f *orphan.Facts) {
			f.Records = append(f.Records, container.Record{Claim: gpu.Claim{ID: "c2", UID: 1001, State: gpu.Bound, ContainerID: gone, CreatedAt: now}})
		}, ""},
		"a claim that waits for its container": {func(f *orphan.Facts) {
			f.Records = append(f.Records, container.Record{Claim: gpu.Claim{ID: "c2", UID: 1001, State: gpu.Pending}})
		}, ""},
		"a grant of a container that has gone": {func(f *orphan.Facts) { f.Given = append(f.Given, gone) }, "device grant " + gone + " -1 true"},
		"a mount of nobody's":                  {func(f *orphan.Facts) { f.Mounts = append(f.Mounts, unknown+"/0") }, "mount " + unknown + "/0 -1 true"},
		"a mount that a strange container has": {func(f *orphan.Facts) {
			f.Mounts, f.Seen = append(f.Mounts, unknown+"/0"), append(f.Seen, strange)
		}, "mount " + unknown + "/0 -1 false"},
		"what is mounted for a moment":             {func(f *orphan.Facts) { f.Mounts = append(f.Mounts, "layer-"+unknown+"/0") }, ""},
		"a door of nobody's":                       {func(f *orphan.Facts) { f.Doors = append(f.Doors, unknown) }, "door " + unknown + " -1 true"},
		"a group of a container that has gone":     {level("u1001/"+gone, 0, 0), "control group u1001/" + gone + " 1001 true"},
		"such a group with processes":              {level("u1001/"+gone, 2, 0), "control group u1001/" + gone + " 1001 false"},
		"a narrow group of ended builds":           {level("u1001/narrow_1_2_3", 0, 0), "control group u1001/narrow_1_2_3 1001 true"},
		"a narrow group with a step":               {level("u1001/narrow_1_2_3", 1, 1), ""},
		"a group of a kind that nobody knows":      {level("u1001/somebody's", 0, 0), ""},
		"a group of no person":                     {level("u01001/"+gone, 0, 0), ""},
		"a person's who has an account":            {level("u1003", 0, 0), ""},
		"a person's who has gone":                  {level("u7", 0, 0), "control group u7 7 true"},
		"a person's who has gone, with containers": {level("u7", 0, 1), ""},
		"a network without a record": {func(f *orphan.Facts) {
			f.Networks = append(f.Networks, network.Observed{ID: "n9", Name: "lab._.1002"})
		}, "network lab._.1002 1002 true"},
		"such a network that a container is on": {func(f *orphan.Facts) {
			f.Networks, f.Seen = append(f.Networks, network.Observed{ID: "n9", Name: "lab._.1002"}), append(f.Seen, strange)
		}, "network lab._.1002 1002 false"},
		"a record without a network": {func(f *orphan.Facts) { f.Networks = f.Networks[1:] }, "network record default._.1001 1001 true"},
		"a network in the making":    {func(f *orphan.Facts) { f.Networks, f.OwnNetworks[0].CreatedAt = nil, now }, ""},
		"a volume without a record":  {func(f *orphan.Facts) { f.Volumes = append(f.Volumes, "old._.1002") }, "volume old._.1002 1002 false"},
		"a record without a volume":  {func(f *orphan.Facts) { f.Volumes = nil }, "volume record data._.1001 1001 true"},
		"what mlc prepared in":       {func(f *orphan.Facts) { f.Quarantined = append(f.Quarantined, strange) }, "container old._.1001 1001 false"},
		"what mlc prepares in now": {func(f *orphan.Facts) {
			busy := strange
			busy.State = "running"
			f.Quarantined = append(f.Quarantined, busy)
		}, ""},
		"what mlc made, with its labels": {func(f *orphan.Facts) {
			whole := strange
			whole.Labels = map[string]string{"aime.mlc": "alice"}
			f.Quarantined = append(f.Quarantined, whole)
		}, ""},
		"an image of mlc's": {func(f *orphan.Facts) { f.Images = append(f.Images, "aimehub/pytorch:old._.1001") }, "image aimehub/pytorch:old._.1001 1001 false"},
	} {
		t.Run(name, func(t *testing.T) {
			f := world()
			f.KnowsNot = map[int]bool{7: true}
			c.change(&f)
			var got []string
			for _, o := range orphan.Find(f) {
				got = append(got, fmt.Sprint(o.Kind, " ", o.Object, " ", o.UID, " ", o.Fix != ""))
				if o.Why == "" || (o.Fix == "") == (o.Next == "") {
					t.Errorf("it isn't said why, or what next: %+v", o)
				}
			}
			if got := strings.Join(got, ", "); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func level(path string, processes, children int) func(*orphan.Facts) {
	return func(f *orphan.Facts) {
		f.Groups = append(f.Groups, orphan.Level{Path: path, Processes: processes, Children: children})
	}
}
