package admission

import (
	"fmt"
	"regexp"
	"strings"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

const visibleDevices = "NVIDIA_VISIBLE_DEVICES"

var deviceName = regexp.MustCompile(`^([0-9]+(:[0-9]+)?|(GPU|MIG)-[0-9A-Za-z/-]+)$`)

// gpusByRuntime reads --runtime=nvidia, the older way to ask for GPUs: the
// request's own variable says which, and here only how many. The runtime is
// never sent.
func (c *Create) gpusByRuntime() (*gpu.Request, error) {
	switch c.HostConfig.Runtime {
	case "", "runc":
		return nil, nil //nolint:nilnil // no request is a good answer
	case "nvidia":
		return readVisible(lastValue(c.Env, visibleDevices))
	}
	return nil, denied(notCreated, fmt.Sprintf("HostConfig.Runtime: the runtime is the host's to choose, and %q isn't served", c.HostConfig.Runtime),
		"Leave --runtime away; ask for GPUs with --gpus N.")
}

// readVisible returns how many devices a value of NVIDIA_VISIBLE_DEVICES names.
func readVisible(value string) (*gpu.Request, error) {
	switch value {
	case "", "none", "void":
		return nil, nil //nolint:nilnil // no request is a good answer
	case "all":
		return &gpu.Request{All: true}, nil
	}
	names := map[string]bool{}
	for name := range strings.SplitSeq(value, ",") {
		if !deviceName.MatchString(name) {
			return nil, refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%s: %q is neither a device nor all or none", visibleDevices, name),
				"Ask for a number of GPUs: --gpus N.")
		}
		names[name] = true
	}
	return &gpu.Request{Count: len(names)}, nil
}

// lastValue returns a variable's value in a list of NAME=value: the last one
// holds, as for the runtime.
func lastValue(env []string, name string) (value string) {
	for _, e := range env {
		if key, v, _ := strings.Cut(e, "="); key == name {
			value = v
		}
	}
	return value
}

// notes is what the caller should hear although nothing is refused.
func (c *Create) notes(wanted *gpu.Request) []string {
	if c.HostConfig.Runtime != "nvidia" || wanted != nil {
		return nil
	}
	return []string{"ds01: --runtime=nvidia without -e " + visibleDevices + "=… grants no GPU, whatever the image says. Ask for GPUs with --gpus N."}
}
