package admission

import (
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// cdiKind is the kind of device that clients which speak CDI may name:
// --device ds01.io/gpu=2g.20gb. Such a name is a wish and never sent on.
const cdiKind = "ds01.io/gpu="

const askForGPUs = "Ask for GPUs with --gpus N, or --device " + cdiKind + "PROFILE."

// DeviceMapping is a device by its path, or in clients that speak CDI by name.
type DeviceMapping struct {
	PathOnHost        string `json:"PathOnHost,omitzero"`
	PathInContainer   string `json:"PathInContainer,omitzero"`
	CgroupPermissions string `json:"CgroupPermissions,omitzero"`
}

// gpuRequest reads what the request wants of GPUs, however it says so.
func (c *Create) gpuRequest() (*gpu.Request, error) {
	requests := c.HostConfig.DeviceRequests
	byName, err := readNames(c.HostConfig.Devices)
	if err != nil {
		return nil, err
	}
	byRuntime, err := c.gpusByRuntime()
	if err != nil {
		return nil, err
	}
	switch {
	case len(requests) > 1 || len(requests) == 1 && byName != nil:
		return nil, denied(notCreated, "more than one device request", "Ask once, with commas between: --gpus '\"device=2g.20gb,1g.10gb\"'.")
	case byRuntime != nil && (len(requests) > 0 || byName != nil):
		return nil, refuse(problem.ErrInvalid, notCreated, "GPUs are asked for twice: by --gpus and by --runtime=nvidia with "+visibleDevices,
			"Keep --gpus N, and leave the others away.")
	case len(requests) == 1:
		return requests[0].read()
	case byName != nil:
		return byName, nil
	}
	return byRuntime, nil
}

// read returns what one device request wants.
func (r DeviceRequest) read() (*gpu.Request, error) {
	isGPU := slices.ContainsFunc(r.Capabilities, func(set []string) bool { return slices.Contains(set, "gpu") })
	switch {
	case r.Driver == "cdi":
		if r.Count != 0 || len(r.Options) > 0 {
			return nil, denied(notCreated, "a device request by CDI has names only", askForGPUs)
		}
		return parseNames(r.DeviceIDs)
	case r.Driver != "" && r.Driver != "nvidia", !isGPU:
		return nil, denied(notCreated, fmt.Sprintf("device driver %q is not served", r.Driver), "Ask for GPUs with --gpus N.")
	case len(r.Options) > 0:
		return nil, denied(notCreated, "options of a device request are not served", "Ask for GPUs with --gpus N.")
	case len(r.DeviceIDs) > 0 && r.Count != 0:
		return nil, refuse(problem.ErrInvalid, notCreated, "a device request has either a count or device IDs", "Leave one of them away.")
	case len(r.DeviceIDs) > 0:
		return parseIDs(r.DeviceIDs)
	case r.Count == -1:
		return &gpu.Request{All: true}, nil
	case r.Count < 1:
		return nil, refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%d GPUs can't be granted", r.Count), "Ask for --gpus 1 or more, or leave it away.")
	}
	return &gpu.Request{Count: r.Count}, nil
}

// readNames reads HostConfig.Devices, where clients before 25 put CDI names;
// nil where it asks for nothing. A device by its path is refused.
func readNames(devices []DeviceMapping) (*gpu.Request, error) {
	if len(devices) == 0 {
		return nil, nil //nolint:nilnil // no request is a good answer
	}
	names := make([]string, len(devices))
	for i, d := range devices {
		plain := (d.PathInContainer == "" || d.PathInContainer == d.PathOnHost) && (d.CgroupPermissions == "" || d.CgroupPermissions == "rwm")
		if !plain || !strings.HasPrefix(d.PathOnHost, cdiKind) {
			return nil, denied(notCreated, "HostConfig.Devices can't be set: devices are granted by --gpus only, or by the name "+cdiKind+"…", "Leave the option away. "+askForGPUs)
		}
		names[i] = d.PathOnHost
	}
	return parseNames(names)
}

// parseNames reads CDI names of ds01's own kind.
func parseNames(names []string) (*gpu.Request, error) {
	ids := make([]string, len(names))
	for i, n := range names {
		id, ok := strings.CutPrefix(n, cdiKind)
		if !ok {
			return nil, denied(notCreated, fmt.Sprintf("the device %q is not served by its CDI name", n), askForGPUs)
		}
		ids[i] = id
	}
	return parseIDs(ids)
}

func parseIDs(ids []string) (*gpu.Request, error) {
	want, err := gpu.ParseDevices(ids)
	if err != nil {
		return nil, err
	}
	return &want, nil
}

// GPURequest returns the device request that asks for r, nil for none.
func GPURequest(r *gpu.Request) []DeviceRequest {
	if r == nil {
		return nil
	}
	d := DeviceRequest{Capabilities: [][]string{{"gpu"}}}
	switch {
	case r.All:
		d.Count = -1
	case len(r.Parts) == 0:
		d.Count = r.Count
	default:
		d.DeviceIDs = r.DeviceIDs()
	}
	return []DeviceRequest{d}
}
