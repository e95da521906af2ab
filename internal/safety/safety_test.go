package safety_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/safety"
)

func TestVersionsAreReadFromWhatProgramsPrint(t *testing.T) {
	for text, want := range map[string]string{
		"1.1.5+ds1": "1.1.5",
		"runc version 1.2.8\ncommit: v1.2.8-0-geeb7e602": "1.2.8",
		"v1.1.12-0-g51d5e94":                             "1.1.12",
		"20.10.24+dfsg1":                                 "20.10.24",
		"24.0":                                           "24.0.0",
		"28.5.2-rd":                                      "28.5.2",
		"1.3.0-rc.1":                                     "1.3.0 (a pre-release)",
		"1.4.0~rc2-1":                                    "1.4.0 (a pre-release)",
		"2.0.0-beta.24":                                  "2.0.0 (a pre-release)",
		"NVIDIA Container Toolkit CLI version 1.17.8\ncommit: f202b80a9b9d0db00d9b1d73c0128c8962c55f4d": "1.17.8",
		"buildkitd github.com/moby/buildkit v0.12.5 bac3f2b673f3f9d33e79046008e7a38e856b3dc6":           "0.12.5",
		"sha256:1.2 is no version of ours": "1.2.0",
		"":                                 "",
		"devel":                            "",
		"12345.1.1":                        "",
	} {
		v, ok := safety.ParseVersion(text)
		if got := v.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q is read as %s, %v; want %q", text, got, ok, want)
		}
	}
}

func TestVersionsAreOrdered(t *testing.T) {
	ordered := []string{"0.12.5", "1.1.5", "1.1.12-rc.1", "1.1.12", "1.2.7", "1.2.8", "1.3.0-rc1", "1.3.0", "1.10.0", "20.10.24", "29.5.0"}
	for i := range ordered {
		for j := range ordered {
			a, _ := safety.ParseVersion(ordered[i])
			b, _ := safety.ParseVersion(ordered[j])
			if a.Less(b) != (i < j) {
				t.Errorf("%s < %s is %v", ordered[i], ordered[j], a.Less(b))
			}
		}
	}
}

func TestJudge(t *testing.T) {
	ok, warn, fail := apitype.CheckOK, apitype.CheckWarn, apitype.CheckFail
	set := func(e safety.Engaged, d *safety.Dockerd) safety.Facts { return safety.Facts{Engaged: &e, Dockerd: d} }
	yes, no := true, false
	engine := func(version string, d safety.Dockerd) safety.Facts {
		return safety.Facts{Engine: version, Engaged: &safety.Engaged{}, Dockerd: &d}
	}
	grouped := func(version int, mode string) safety.Facts {
		return safety.Facts{Engaged: &safety.Engaged{}, Dockerd: &safety.Dockerd{CgroupNS: mode}, CgroupVersion: version}
	}
	ours := &safety.Dockerd{Runc: "/steps/runc", Starter: safety.ThisDs01}
	all := []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"}
	for name, c := range map[string]struct {
		facts              safety.Facts
		check, want, words string // want "" = no such check
	}{
		"an engine that isn't known":         {safety.Facts{}, "engine version", "", ""},
		"an engine of long ago":              {safety.Facts{Engine: "19.03.15"}, "engine version", fail, "20.10"},
		"an engine with a hole":              {safety.Facts{Engine: "28.5.2"}, "engine version", warn, "CVE-2026-41567"},
		"an engine without a hole":           {safety.Facts{Engine: "29.5.1"}, "engine version", ok, ""},
		"runc with the leaked descriptor":    {safety.Facts{Runc: "1.1.11"}, "runc version", fail, "CVE-2024-21626"},
		"runc mended by its distribution":    {safety.Facts{Runc: "1.1.5+ds1", RuncFixes: []string{"CVE-2024-21626"}}, "runc version", warn, "CVE-2025-31133"},
		"runc mended throughout":             {safety.Facts{Runc: "1.1.5+ds1", RuncFixes: append(all, "CVE-2024-21626")}, "runc version", ok, "distribution"},
		"runc mended but for the oldest":     {safety.Facts{Runc: "1.1.5+ds1", RuncFixes: all}, "runc version", fail, "CVE-2024-21626"},
		"runc 1.1.12":                        {safety.Facts{Runc: "1.1.12"}, "runc version", warn, "1.2.8"},
		"runc 1.2.7":                         {safety.Facts{Runc: "1.2.7"}, "runc version", warn, "1.2.8"},
		"runc 1.2.8":                         {safety.Facts{Runc: "1.2.8"}, "runc version", ok, ""},
		"runc 1.3.2, newer than 1.2.8":       {safety.Facts{Runc: "1.3.2"}, "runc version", warn, "1.3.3"},
		"runc 1.3.3":                         {safety.Facts{Runc: "1.3.3"}, "runc version", ok, ""},
		"runc that can't be read":            {safety.Facts{Runc: "N/A"}, "runc version", "", ""},
		"an old toolkit":                     {safety.Facts{Toolkit: "1.17.7"}, "nvidia toolkit", fail, "CVE-2025-23266"},
		"a new toolkit":                      {safety.Facts{Toolkit: "1.17.8"}, "nvidia toolkit", ok, ""},
		"no toolkit":                         {safety.Facts{}, "nvidia toolkit", "", ""},
		"an old BuildKit":                    {safety.Facts{BuildKit: "v0.12.4"}, "buildkit", fail, "CVE-2024-23651"},
		"a new BuildKit":                     {safety.Facts{BuildKit: "v0.12.5"}, "buildkit", ok, ""},
		"NVIDIA's runtime by default":        {safety.Facts{DefaultRuntime: "nvidia"}, "default runtime", fail, "nvidia"},
		"runc by default":                    {safety.Facts{DefaultRuntime: "runc"}, "default runtime", ok, ""},
		"an engine that remaps":              {safety.Facts{Engine: "28.0.0", Remapped: true}, "user namespaces", ok, "nobody"},
		"an engine that doesn't":             {safety.Facts{Engine: "28.0.0"}, "user namespaces", warn, "ds01 remap"},
		"few keys before a remapped engine":  {safety.Facts{Remapped: true, MaxKeys: 200}, "kernel keys", warn, "200"},
		"many keys before a remapped engine": {safety.Facts{Remapped: true, MaxKeys: 2000}, "kernel keys", ok, ""},
		"few keys where root isn't remapped": {safety.Facts{MaxKeys: 200}, "kernel keys", "", ""},
		"members of the docker group":        {safety.Facts{DockerGroup: []string{"bob", "alice"}}, "docker group", warn, "alice, bob"},
		"nobody in the docker group":         {safety.Facts{}, "docker group", ok, ""},
		"a gateway where clients look":       {safety.Facts{Gateway: "/run/docker.sock"}, "gateway", ok, ""},
		"a gateway where clients look, long": {safety.Facts{Gateway: "/var/run/docker.sock"}, "gateway", ok, ""},
		"a gateway elsewhere":                {safety.Facts{Gateway: "/srv/docker.sock"}, "gateway", warn, "DOCKER_HOST=unix:///srv/docker.sock"},
		"nothing of the engine's setup":      {safety.Facts{Dockerd: ours}, "steps of builds", "", ""},
		"steps by ds01":                      {set(safety.Engaged{}, ours), "steps of builds", ok, "/steps/runc"},
		"steps by another ds01":              {set(safety.Engaged{}, &safety.Dockerd{Runc: "/r", Starter: safety.OtherDs01}), "steps of builds", warn, "systemctl restart ds01"},
		"steps by runc":                      {set(safety.Engaged{}, &safety.Dockerd{Runc: "/usr/sbin/runc"}), "steps of builds", warn, "/usr/sbin/runc starts them, and isn't ds01"},
		"steps by nothing":                   {set(safety.Engaged{}, &safety.Dockerd{}), "steps of builds", fail, "Install runc"},
		"a dockerd that isn't found":         {set(safety.Engaged{}, nil), "steps of builds", warn, "isn't found"},
		"an engine without networks":         {set(safety.Engaged{}, ours), "engine's bridge", ok, "none"},
		"a bridge that keeps apart":          {set(safety.Engaged{Bridge: true, Apart: true}, ours), "engine's bridge", ok, "No container is on it"},
		"a bridge that keeps somebody apart": {set(safety.Engaged{Bridge: true, Apart: true, OnBridge: []string{"old"}}, ours), "engine's bridge", ok, "past ds01: old."},
		"a bridge that keeps nobody apart":   {set(safety.Engaged{Bridge: true, OnBridge: []string{"a", "old"}}, ours), "engine's bridge", warn, "past ds01: a, old."},
		"an open bridge with nobody on it":   {set(safety.Engaged{Bridge: true}, ours), "engine's bridge", warn, `"icc": false`},
		"firewall rules":                     {set(safety.Engaged{Bridge: true}, ours), "firewall", ok, ""},
		"networks without firewall rules":    {set(safety.Engaged{Bridge: true}, &safety.Dockerd{NoFirewall: true}), "firewall", fail, "iptables"},
		"neither networks nor firewall":      {set(safety.Engaged{}, &safety.Dockerd{NoFirewall: true}), "firewall", "", ""},
		"containers that outlive the engine": {set(safety.Engaged{LiveRestore: true}, ours), "live restore", ok, ""},
		"containers that end with it":        {set(safety.Engaged{}, ours), "live restore", warn, `"live-restore": true`},
		"builds that nobody clears":          {set(safety.Engaged{}, ours), "build cache", warn, "isn't told"},
		"builds that a newer engine clears":  {engine("28.5.2", safety.Dockerd{}), "build cache", ok, "thinks fit"},
		"a newer engine that is told not to": {engine("28.5.2", safety.Dockerd{ClearsBuilds: &no}), "build cache", warn, "is told not to"},
		"an older engine that is told to":    {engine("20.10.24", safety.Dockerd{ClearsBuilds: &yes, KeepsBuilds: "20GB"}), "build cache", ok, "20GB"},
		"an older engine":                    {engine("20.10.24", safety.Dockerd{}), "build cache", warn, "defaultKeepStorage"},
		"names of groups on v1":              {grouped(1, ""), "group names", warn, "default-cgroupns-mode"},
		"names of groups on v2":              {grouped(2, ""), "group names", ok, ""},
		"names of groups by a setting":       {grouped(2, "host"), "group names", warn, "private"},
		"no names of groups by a setting":    {grouped(1, "private"), "group names", ok, ""},
		"groups of a kind that isn't known":  {grouped(0, "host"), "group names", "", ""},
		"no socket past ds01":                {safety.Facts{}, "engine sockets", ok, ""},
		"a socket past ds01":                 {safety.Facts{Sockets: []safety.Socket{{"/run/d.sock", "Docker", "the group docker (alice)"}}}, "engine sockets", fail, "/run/d.sock is open to the group docker (alice)"},
	} {
		t.Run(name, func(t *testing.T) {
			found := apitype.Check{}
			for _, check := range safety.Judge(c.facts) {
				if check.Name == c.check {
					found = check
				}
			}
			if found.Result != c.want || !strings.Contains(found.Detail+found.Next, c.words) {
				t.Errorf("%+v, want %q with %q", found, c.want, c.words)
			}
			if (found.Result == warn || found.Result == fail) && found.Next == "" {
				t.Error("it doesn't say what next")
			}
		})
	}
}
