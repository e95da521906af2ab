package admission

import (
	"cmp"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An Origin is one field of a request as it is sent, and what set it.
type Origin struct {
	Field string // as the API calls it, "HostConfig.Memory"
	Value string // JSON
	SetBy string // "request", "ds01", "request and ds01", a rule of the limits or of the site's policy
}

// limited are the fields that a limit fills in, with its key.
func limited(s Subject) map[string]string {
	_, cpus := cpuLimit(s)
	return map[string]string{
		"HostConfig.Memory": "memory", "HostConfig.MemorySwap": "memory_swap", "HostConfig.NanoCpus": cpus,
		"HostConfig.PidsLimit": "pids_limit", "HostConfig.ShmSize": "shm_size", "HostConfig.Ulimits": "ulimit_nofile", "StopTimeout": "stop_timeout",
	}
}

// tightenable are the fields that the site's policy may change, with what it
// calls them.
func tightenable() map[string]string {
	return map[string]string{
		"HostConfig.Memory": "memory", "HostConfig.MemorySwap": "memory", "HostConfig.MemoryReservation": "memory", "HostConfig.NanoCpus": "cpus",
		"HostConfig.PidsLimit": "pids_limit", "HostConfig.ShmSize": "shm_size", "HostConfig.Tmpfs": "memory",
		"HostConfig.NetworkMode": "network", "NetworkingConfig.EndpointsConfig": "network",
		"HostConfig.SecurityOpt": "no_new_privileges", "HostConfig.CapDrop": "cap_drop",
	}
}

// Origins says of each field of sent, in order, what set it: asked is what the
// client wrote, reviewed what ds01 had made of it before the site's policy,
// which changes says.
func Origins(s Subject, asked, reviewed, sent Create, changes []Change) ([]Origin, error) {
	var flat [3]map[string]string
	for i, c := range []Create{asked, reviewed, sent} {
		var err error
		if flat[i], err = flatten(c); err != nil {
			return nil, err
		}
	}
	byClient, before, after := flat[0], flat[1], flat[2]
	var all []Origin
	for _, field := range slices.Sorted(maps.Keys(after)) {
		o := Origin{Field: field, Value: after[field]}
		switch key := limited(s)[field]; {
		case after[field] != before[field]:
			o.SetBy = "site policy, " + ruleOf(changes, tightenable()[field])
		case byClient[field] == after[field]:
			o.SetBy = "request"
		case byClient[field] == "" && key != "":
			o.SetBy = key + ", " + s.Limits.Source(key).String()
		case byClient[field] == "":
			o.SetBy = "ds01"
		default:
			o.SetBy = "request and ds01"
		}
		all = append(all, o)
	}
	return all, nil
}

// ruleOf returns the rule that changed a field last: it is the one that holds.
func ruleOf(changes []Change, field string) string {
	rule := ""
	for _, c := range changes {
		if c.Field == field {
			rule = c.Rule
		}
	}
	return cmp.Or(rule, "as a consequence")
}

// flatten returns the fields of c with a value, those of its parts by their
// full names.
func flatten(c Create) (map[string]string, error) {
	all := map[string]string{}
	var add func(prefix string, value jsontext.Value) error
	add = func(prefix string, value jsontext.Value) error {
		var members map[string]jsontext.Value
		if err := json.Unmarshal(value, &members); err != nil {
			return err
		}
		for key, member := range members {
			name := prefix + key
			if name == "HostConfig" || name == "NetworkingConfig" {
				if err := add(name+".", member); err != nil {
					return err
				}
				continue
			}
			all[name] = string(member)
		}
		return nil
	}
	text, err := Encode(c)
	if err == nil {
		err = add("", text)
	}
	return all, err
}
