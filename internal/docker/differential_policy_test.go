package docker_test

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	dcontainer "github.com/docker/docker/api/types/container"
	dnetwork "github.com/docker/docker/api/types/network"

	"ds01.dev/ds01/internal/container"
)

// What alice may have the engine do, in the engine's words. None of it comes
// from admission, which it judges.

func containerPolicy(w *world, read any) rules {
	r := read.(*dcontainer.CreateRequest)
	if r.Config == nil || r.HostConfig == nil {
		return rules{"": that(false)}
	}
	h, asOwner := r.HostConfig, len(w.laid) > 0 && (w.plain || !w.remapped)
	all := rules{
		"Hostname": anything, "AttachStdin": anything, "AttachStdout": anything, "AttachStderr": anything, "ExposedPorts": anything,
		"Tty": anything, "OpenStdin": anything, "StdinOnce": anything, "Cmd": anything, "Entrypoint": anything, "NetworkDisabled": anything,
		"StopSignal":  anything,
		"Image":       one(w.image.ID),
		"User":        that(!asOwner || r.User == "1001:1001"),
		"Env":         that(w.environmentFits(r.Env)),
		"Labels":      that(w.labelsFit(r.Labels)),
		"WorkingDir":  that(outsideProc(r.WorkingDir)),
		"StopTimeout": that(w.bounds.stop == 0 || r.StopTimeout != nil && 0 <= *r.StopTimeout && int64(*r.StopTimeout) <= w.bounds.stop),

		"HostConfig.AutoRemove": anything, "HostConfig.ReadonlyRootfs": anything, "HostConfig.Init": anything,
		"HostConfig.LogConfig":          that(logFits(h.LogConfig)),
		"HostConfig.NetworkMode":        that(w.networkFits(string(h.NetworkMode))),
		"HostConfig.PortBindings":       that(portsFit(r)),
		"HostConfig.RestartPolicy.Name": one(dcontainer.RestartPolicyDisabled),
		"HostConfig.CapDrop":            that(slices.Contains(h.CapDrop, "ALL") || !asOwner && slices.Contains(h.CapDrop, "MKNOD")),
		"HostConfig.CgroupnsMode":       one(dcontainer.CgroupnsModePrivate),
		"HostConfig.ExtraHosts":         that(!slices.ContainsFunc(h.ExtraHosts, func(line string) bool { return !aHost.MatchString(line) })),
		"HostConfig.GroupAdd":           that(w.remapped && !asOwner || within(h.GroupAdd, "1001", "2000")),
		"HostConfig.IpcMode":            one(dcontainer.IPCModeNone, dcontainer.IPCModePrivate, ""),
		"HostConfig.OomScoreAdj":        that(h.OomScoreAdj >= 0),
		"HostConfig.SecurityOpt":        that(securityFits(h.SecurityOpt, asOwner)),
		"HostConfig.Tmpfs":              that(tmpfsFits(h)),
		"HostConfig.UsernsMode":         that(h.UsernsMode == "" || h.UsernsMode == "host" && asOwner && w.remapped),
		"HostConfig.CgroupParent":       one("/ds01/u1001"),
		"HostConfig.ShmSize":            upTo(w.bounds.shm),
		"HostConfig.DeviceCgroupRules":  that(w.deviceRulesFit(h.DeviceCgroupRules)),
		"HostConfig.DeviceRequests":     that(w.deviceRequestsFit(h.DeviceRequests)),
		"HostConfig.Mounts":             that(w.mountsFit(h.Mounts)),
		"HostConfig.Ulimits":            that(w.ulimitsFit(h.Ulimits)),
		"HostConfig.Memory":             upTo(w.bounds.memory),
		"HostConfig.MemorySwap":         that(w.bounds.swap == 0 || h.Memory <= h.MemorySwap && h.MemorySwap <= w.bounds.swap),
		"HostConfig.NanoCPUs":           upTo(w.bounds.nanoCPUs),
		"HostConfig.PidsLimit":          that(w.bounds.pids == 0 || h.PidsLimit != nil && 1 <= *h.PidsLimit && *h.PidsLimit <= w.bounds.pids),

		"NetworkingConfig.EndpointsConfig": that(endpointsFit(r)),
	}
	maps.Copy(all, sharesPolicy("HostConfig.", w))
	maps.Copy(all, healthPolicy(r.Healthcheck, w.image.Probes))
	return all
}

// sharesPolicy is about what a container takes from others when they want it
// too.
func sharesPolicy(prefix string, w *world) rules {
	return rules{
		prefix + "CPUShares": func(v any) bool { return 0 <= v.(int64) && v.(int64) <= 1024 },
		prefix + "MemoryReservation": func(v any) bool {
			return 0 <= v.(int64) && (w.bounds.memory == 0 || v.(int64) <= w.bounds.memory)
		},
		prefix + "CpusetCpus": anything, // its processor time is limited whatever it runs on
	}
}

// healthPolicy is about a health check as it will be: the engine adds what an
// image says and the body doesn't.
func healthPolicy(h *dcontainer.HealthConfig, image container.Probes) rules {
	rare := func(v any) bool { return v.(time.Duration) == 0 || v.(time.Duration) >= time.Second }
	if h == nil {
		h = &dcontainer.HealthConfig{}
	}
	if len(h.Test) > 0 && h.Test[0] == "NONE" {
		image = container.Probes{}
	}
	return rules{
		"Healthcheck.Test": anything, "Healthcheck.Retries": anything, "Healthcheck.Timeout": rare, "Healthcheck.StartPeriod": rare,
		"Healthcheck.Interval":      that(rare(cmp.Or(h.Interval, image.Interval))),
		"Healthcheck.StartInterval": that(rare(cmp.Or(h.StartInterval, image.StartInterval))),
	}
}

func endpointPolicy(prefix string) rules {
	return rules{
		prefix + "Aliases": func(v any) bool {
			return !slices.ContainsFunc(v.([]string), func(alias string) bool { return !aName.MatchString(alias) })
		},
		prefix + "Links": func(v any) bool { // further names of what is on the same network
			return !slices.ContainsFunc(v.([]string), func(link string) bool {
				other, alias, _ := strings.Cut(link, ":")
				return other != "other" || !aName.MatchString(alias)
			})
		},
	}
}

func updatePolicy(w *world, read any) rules {
	u := read.(*dcontainer.UpdateConfig)
	all := rules{ // zero leaves as it is
		"Memory":     orZero(upTo(w.bounds.memory)),
		"MemorySwap": orZero(upTo(w.bounds.swap)),
		"NanoCPUs":   orZero(upTo(w.bounds.nanoCPUs)),
		"PidsLimit":  that(w.bounds.pids == 0 || u.PidsLimit == nil || 1 <= *u.PidsLimit && *u.PidsLimit <= w.bounds.pids),
	}
	maps.Copy(all, sharesPolicy("", w))
	return all
}

func execPolicy(w *world, read any) rules {
	e := read.(*dcontainer.ExecOptions)
	return rules{
		"Tty": anything, "ConsoleSize": anything, "AttachStdin": anything, "AttachStdout": anything, "AttachStderr": anything, "DetachKeys": anything, "Cmd": anything,
		"User":       that(!w.mounted || w.remapped && !w.plain || e.User == "1001:1001"),
		"WorkingDir": that(outsideProc(e.WorkingDir)),
		"Env":        that(!slices.ContainsFunc(e.Env, func(v string) bool { return strings.HasPrefix(v, "NVIDIA_") })),
	}
}

func execStartPolicy(*world, any) rules {
	return rules{"Detach": anything, "Tty": anything, "ConsoleSize": anything}
}

func networkPolicy(_ *world, read any) rules {
	n := read.(*dnetwork.CreateRequest)
	return rules{
		"Name": that(isAlices(n.Name)), "Driver": one("bridge"), "Internal": anything,
		"CheckDuplicate": anything,
		"IPAM.Driver":    one("default"),
		"IPAM.Config":    that(n.IPAM != nil && reflect.DeepEqual(n.IPAM.Config, []dnetwork.IPAMConfig{{Subnet: "10.200.0.0/24"}})),
		"Options":        that(optionsFit(n.Options)),
		"Labels":         that(labelsOfOursFit(n.Labels, map[string]string{"aime.mlc.DS01_UID": "1001", "aime.mlc.DS01_MANAGED": "true"})),
	}
}

func connectPolicy(*world, any) rules {
	all := rules{"Container": one("0123")}
	maps.Copy(all, endpointPolicy("EndpointConfig."))
	return all
}

func disconnectPolicy(*world, any) rules {
	return rules{"Container": one("0123"), "Force": anything}
}

func volumePolicy(*world, any) rules {
	return rules{
		"Name": func(v any) bool { return isAlices(v.(string)) }, "Driver": one("local"),
		"Labels": func(v any) bool {
			return labelsOfOursFit(v.(map[string]string), map[string]string{"aime.mlc.DS01_UID": "1001", "aime.mlc.DS01_MANAGED": "true"})
		},
	}
}

// commitPolicy: an image may say what it likes that create has the last word
// about, such as variables and volumes.
func commitPolicy(_ *world, read any) rules {
	r := read.(*dcontainer.CreateRequest)
	if r.Config == nil {
		return rules{"": that(false)}
	}
	all := rules{
		"User": anything, "ExposedPorts": anything, "Env": anything, "Cmd": anything, "Entrypoint": anything, "Shell": anything,
		"Volumes": anything, "StopSignal": anything, "StopTimeout": anything,
		"WorkingDir": func(v any) bool { return outsideProc(v.(string)) },
		"Labels": func(v any) bool {
			return labelsOfOursFit(v.(map[string]string), map[string]string{"aime.mlc.DS01_CLAIM": "", "aime.mlc.DS01_GPU_UUIDS": "", "aime.mlc.DS01_GPU_SLOTS": ""})
		},
	}
	maps.Copy(all, healthPolicy(r.Healthcheck, container.Probes{}))
	return all
}

func loginPolicy(*world, any) rules {
	return rules{
		"Username": anything, "Password": anything, "Auth": anything, "Email": anything,
		"ServerAddress": anything, "IdentityToken": anything, "RegistryToken": anything,
	}
}
