package limits

// A historic key is one that files of the existing deployment hold. It is
// read as another key, or accepted and not applied; either way the warning
// names what to write.
type historic struct {
	name   string
	as     string                      // the key it is read as; "" when it is not applied
	parse  func(string) (int64, error) // how its value is written, where that differs
	quiet  bool                        // an alias that may stay: no warning
	advice string                      // what to write, for a key that is not applied
}

// historicLimits lists old keys of defaults, groups and overrides.
func historicLimits() []historic {
	return []historic{
		{name: "max_gpu_equivalents", as: "max_gpu_share", quiet: true},
		{name: "gpu_equivalents", as: "max_gpu_share"},
		{name: "max_gpus_per_user", as: "max_mig_instances"},
		{name: "max_gpu_slots", as: "max_mig_instances"},
		{name: "max_gpu_slots_per_container", as: "max_gpus_per_container"},
		{name: "max_mig_per_container", as: "max_gpus_per_container"},
		{name: "gpu_memory", advice: "a device's memory is all its holder's; bound it with max_gpu_share and smaller MIG profiles"},
		{name: "aggregate.cpu_quota", as: "aggregate.cpus", parse: cpuQuota},
		{name: "aggregate.memory_max", as: "aggregate.memory"},
		{name: "aggregate.tasks_max", as: "aggregate.tasks"},
		{name: "aggregate.gpu_limit", as: "max_gpu_share"},
	}
}

// A retired section is a top-level key of the existing deployment that nothing
// reads, whatever it holds.
type retired struct{ name, advice string }

func retiredSections() []retired {
	return []retired{
		{"advanced", "networks and restart policies are asked for with each container"},
		{"wizard", "the wizards ask for themselves and bring their own messages"},
		{"enforcement", "aggregate limits always hold, and the cgroup driver is the engine's own"},
		{"monitoring", "set DS01_PROTECTED on a container to have it left alone"},
		{"access_control", "groups.admin in ds01.yaml says who administers; for everybody else every request is checked"},
	}
}

// A unitSuffix is a unit that the existing deployment put into a key's name.
type unitSuffix struct{ suffix, unit string }

func unitSuffixes() []unitSuffix {
	return []unitSuffix{{"_hours", "h"}, {"_minutes", "m"}, {"_seconds", "s"}, {"_h", "h"}, {"_m", "m"}, {"_s", "s"}}
}

// replacedDurations gives, for duration keys that went by another name, the
// key to write today.
func replacedDurations() map[string]string {
	return map[string]string{
		"policies.sigterm_grace":        "stop_timeout under defaults, a group or an override",
		"container_types.sigterm_grace": "stop_timeout",
	}
}
