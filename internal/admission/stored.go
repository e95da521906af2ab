package admission

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const notStarted = "Container not started"

// Stored is what the engine has stored of a container's configuration. It may
// be older than the limits, and may have been changed past ds01.
type Stored struct {
	config   storedConfig
	networks []string // that it is connected with
	host     HostConfig
	rest     map[string]jsontext.Value // what ds01 doesn't know
}

type storedConfig struct {
	User       string            `json:"User"`
	Env        []string          `json:"Env"`
	Cmd        Words             `json:"Cmd"`
	Entrypoint Words             `json:"Entrypoint"`
	Labels     map[string]string `json:"Labels"`
}

// DecodeStored reads the engine's inspection of a container.
func DecodeStored(inspection []byte) (Stored, error) {
	var doc struct {
		Config     storedConfig `json:"Config"`
		HostConfig struct {
			HostConfig
			Rest map[string]jsontext.Value `json:",embed"`
		} `json:"HostConfig"`
		NetworkSettings struct {
			Networks map[string]jsontext.Value `json:"Networks"`
		} `json:"NetworkSettings"`
	}
	if err := json.Unmarshal(inspection, &doc); err != nil {
		return Stored{}, fmt.Errorf("read the engine's answer: %w", err)
	}
	return Stored{
		config: doc.Config, networks: slices.Sorted(maps.Keys(doc.NetworkSettings.Networks)),
		host: doc.HostConfig.HostConfig, rest: doc.HostConfig.Rest,
	}, nil
}

// exceeds is the refusal of a configuration that goes beyond what is allowed.
func exceeds(field, why string) error {
	return denied(notStarted, fmt.Sprintf("HostConfig.%s: %s. It was made under other rules, or changed past ds01", field, why),
		"Make it anew within today's limits; what lies in mounted directories stays. Administrators can say what changed.")
}

// Check reviews a stored configuration as if it were asked for now, by its
// owner, with what is granted now. It returns the update that fits it to
// the limits first, or an error of kind problem.ErrDenied or ErrLimit where none
// can.
func (st Stored) Check(s Subject, g Grant) (Update, error) {
	for _, step := range []func(Stored, Subject, Grant) error{
		checkReach, checkWritten, checkLasting, checkDevices, checkMounts, checkNetworks, checkPorts,
	} {
		if err := step(st, s, g); err != nil {
			return Update{}, err
		}
	}
	return st.Fit(s, g.Wishes), nil
}

// CheckAdopted reviews the configuration of a container that was made past ds01:
// it keeps what it was made with, unless that reaches beyond the container.
func (st Stored) CheckAdopted(s Subject, g Grant) (Update, error) {
	for _, step := range []func(Stored, Subject, Grant) error{checkReach, checkForeignMounts, checkSharedNetworks, checkPorts} {
		if err := step(st, s, g); err != nil {
			return Update{}, err
		}
	}
	return st.Fit(s, nil), nil
}

// checkReach refuses what nobody may ask for.
func checkReach(st Stored, _ Subject, g Grant) error {
	for _, key := range slices.Sorted(maps.Keys(st.rest)) {
		var u Unset
		if _ = u.UnmarshalJSON(st.rest[key]); u.asked != "" { // it returns nil
			return exceeds(key, "ds01 doesn't know what it does")
		}
	}
	c := Create{HostConfig: st.host}
	h := &c.HostConfig
	if h.Runtime != "" && h.Runtime != "runc" && h.Runtime != g.Runtime && h.Runtime != AtStartRuntime {
		return exceeds("Runtime", fmt.Sprintf("%q isn't the engine's own", h.Runtime))
	}
	if h.UsernsMode != "" && !g.plain() {
		return exceeds("UsernsMode", "the user namespace keeps its owner apart from the host's root")
	}
	if len(h.Devices) > 0 {
		return exceeds("Devices", "devices are granted by ds01, and by rules")
	}
	if err := checkPaths(h); err != nil {
		return err
	}
	h.MaskedPaths, h.ReadonlyPaths = Given{}, Given{} // the engine writes its defaults there
	for _, r := range c.refused() {
		if r.value.asked != "" {
			return denied(notStarted, fmt.Sprintf("%s: %s. It was made under other rules, or changed past ds01", r.field, r.why),
				"Make it anew without that; what lies in mounted directories stays.")
		}
	}
	if h.CgroupnsMode == "host" {
		h.CgroupnsMode = "" // checkWritten looks at it; an adopted one may see the names of groups
	}
	return starting(checkHost(&c))
}

// checkPaths makes sure that what the engine hides and protects of the host in
// every container still is; nothing stored means its defaults.
func checkPaths(h *HostConfig) error {
	for _, p := range []struct {
		field string
		value Given
		kept  []string
	}{
		{"MaskedPaths", h.MaskedPaths, []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"}},
		{"ReadonlyPaths", h.ReadonlyPaths, []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}},
	} {
		if p.value.asked == "" {
			continue
		}
		var paths []string
		if err := json.Unmarshal([]byte(p.value.asked), &paths); err != nil {
			return exceeds(p.field, err.Error())
		}
		for _, path := range p.kept {
			if !slices.Contains(paths, path) {
				return exceeds(p.field, path+" is uncovered")
			}
		}
	}
	return nil
}
