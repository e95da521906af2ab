package limits

import "cmp"

// A Key is one key of the limits file as people read of it. Either By or
// Inactive is said.
type Key struct {
	Name     string // as in the file: "aggregate.cpus", "container_types.TYPE.idle_timeout"
	Default  string // what applies where the file doesn't say; "": nothing
	By       string // what holds people to it
	Inactive string // why nothing does
}

// Keys returns every key of the limits file that isn't of another time: those
// of a rule, those that make rules, and those of the sections.
func Keys() []Key {
	keys := structure()
	for _, k := range table() {
		text := (&setting{n: k.builtin, roots: k.roots, unlimited: k.none}).describe(k.kind)
		if k.builtin == 0 && k.roots == nil && !k.none {
			text = ""
		}
		keys = append(keys, Key{Name: k.name, Default: text, By: k.by, Inactive: k.inactive})
	}
	for _, section := range topLevel() {
		where := section
		if section == "container_types" {
			where += ".TYPE"
			for _, name := range typeKeys() {
				keys = append(keys, Key{Name: where + "." + name, By: "as the limit of this name, where it is stricter"})
			}
		}
		for _, k := range sections()[section] {
			keys = append(keys, Key{Name: where + "." + k.name, By: k.by, Inactive: k.inactive})
		}
	}
	return keys
}

// structure lists the keys that say whom a rule is for, and for how long.
func structure() []Key {
	const look = "each look at a person's limits, at every request"
	return []Key{
		{Name: "default_group", Default: usualGroup, By: look},
		{Name: "groups.GROUP.members", By: look},
		{Name: "user_overrides.USER.expires", By: look},
		{Name: "user_overrides.USER.reason", By: "nothing to hold: it is shown to who asks why a device is kept"},
		{Name: "user_overrides.USER.reserved_gpus", By: "the claim: during a reservation nobody else gets the devices"},
		{Name: "user_overrides.USER.reservation_start", By: "the claim"},
		{Name: "user_overrides.USER.reservation_end", By: "the claim"},
	}
}

// Retired is a key or section of the deployment before: Instead is the key
// that it is read as, or what to do.
type Retired struct {
	Name    string
	Applied bool // read as Instead
	Instead string
}

// RetiredKeys returns every key that is read for old files alone, sections last.
func RetiredKeys() []Retired {
	var all []Retired
	for _, h := range historicLimits() {
		all = append(all, Retired{h.name, h.as != "", cmp.Or(h.as, h.advice)})
	}
	for _, r := range retiredSections() {
		all = append(all, Retired{r.name, false, r.advice})
	}
	return all
}
