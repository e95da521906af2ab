package nvml

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/gpu"
)

// The numbers that NVIDIA's driver has on every Linux host: the major of the
// cards is registered with the kernel, and nvidiactl has the last minor.
const (
	majorNVIDIA    = 195
	minorNVIDIACtl = 255
)

// majors holds what the kernel numbered when it loaded the modules, by the
// name in /proc/devices.
type majors map[string]uint32

// readMajors reads the character devices of proc/devices. A file that can't be
// read gives none, and the devices that need them get a Problem.
func (d *Driver) readMajors() majors {
	text, err := fs.ReadFile(d.proc, "devices")
	if err != nil {
		return nil
	}
	character, _, _ := strings.Cut(string(text), "Block devices:")
	nums := make(majors)
	for line := range strings.Lines(character) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(number, 10, 12); err == nil {
			nums[name] = uint32(n)
		}
	}
	return nums
}

// card returns the nodes that a container needs for the card with that minor,
// and why they won't do ("" = they will).
func (m majors) card(minor int) ([]gpu.Node, string) {
	nodes := []gpu.Node{
		{Name: "nvidia" + strconv.Itoa(minor), Major: majorNVIDIA, Minor: uint32(minor)}, //nolint:gosec // the driver's minors are 0 to 254
		{Name: "nvidiactl", Major: majorNVIDIA, Minor: minorNVIDIACtl},
	}
	uvm, ok := m["nvidia-uvm"]
	if !ok {
		return nodes, "the kernel module nvidia-uvm isn't loaded (nvidia-modprobe -u loads it)"
	}
	return append(nodes,
		gpu.Node{Name: "nvidia-uvm", Major: uvm, Minor: 0},
		gpu.Node{Name: "nvidia-uvm-tools", Major: uvm, Minor: 1}), ""
}

// capabilities returns the two nodes that open a GPU instance and the compute
// instance in it, and why they won't do ("" = they will).
func (m majors) capabilities(proc fs.FS, minor, gpuInstance, computeInstance int) ([]gpu.Node, string) {
	caps, ok := m["nvidia-caps"]
	if !ok {
		return nil, "the kernel has no device nvidia-caps"
	}
	folder := fmt.Sprintf("driver/nvidia/capabilities/gpu%d/mig/gi%d/", minor, gpuInstance)
	var nodes []gpu.Node
	for _, file := range []string{folder + "access", folder + fmt.Sprintf("ci%d/access", computeInstance)} {
		number, err := capabilityMinor(proc, file)
		if err != nil {
			return nil, "its nvidia-caps node isn't known: " + err.Error()
		}
		nodes = append(nodes, gpu.Node{Name: fmt.Sprintf("nvidia-caps/nvidia-cap%d", number), Major: caps, Minor: number})
	}
	return nodes, ""
}

// capabilityMinor reads the line "DeviceFileMinor: 21" of an access file.
func capabilityMinor(proc fs.FS, file string) (uint32, error) {
	text, err := fs.ReadFile(proc, file)
	if err != nil {
		return 0, fmt.Errorf("read capability: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		value, ok := strings.CutPrefix(line, "DeviceFileMinor:")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 20)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		return uint32(n), nil
	}
	return 0, fmt.Errorf("%s has no DeviceFileMinor", file)
}
