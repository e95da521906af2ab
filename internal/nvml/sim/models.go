package sim

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/gpus"

	"ds01.dev/ds01/internal/gpu"
)

// A model is one kind of card.
type model struct {
	name        string // as the driver says it
	memoryBytes int64
	profiles    []gpu.Profile // by slices, then memory, then name
	resets      bool          // a change of the MIG mode waits for a reset
	nvlink      bool          // cards of it are connected by NVLink
}

// models returns the models by the name they have in the configuration.
func models() map[string]model {
	return map[string]model{
		"a30":            newModel(gpus.A30_PCIE_24GB, false),
		"a100-40gb":      newModel(gpus.A100_SXM4_40GB, true),
		"a100-80gb":      newModel(gpus.A100_SXM4_80GB, true),
		"a100-pcie-40gb": newModel(gpus.A100_PCIE_40GB, false),
		"a100-pcie-80gb": newModel(gpus.A100_PCIE_80GB, false),
		"h100-80gb":      newModel(gpus.H100_SXM5_80GB, true),
		"h200":           newModel(gpus.H200_SXM5_141GB, true),
		"b200":           newModel(gpus.B200_SXM5_180GB, true),
	}
}

// Models returns the names of the models that a Config may hold, sorted.
func Models() []string { return slices.Sorted(maps.Keys(models())) }

func modelNames(known map[string]model) string {
	return strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

const mib = 1 << 20

func newModel(table gpus.Config, nvlink bool) model {
	m := model{
		name:        strings.TrimPrefix(table.Name, "Mock "),
		memoryBytes: int64(table.MemoryMB) * mib, //nolint:gosec // the tables hold thousands
		resets:      table.Architecture == nvml.DEVICE_ARCH_AMPERE,
		nvlink:      nvlink,
	}
	for id, info := range table.MIGProfiles.GpuInstanceProfiles {
		memory := int64(info.MemorySizeMB) * mib //nolint:gosec // the tables hold thousands
		p := gpu.Profile{
			Name:   gpu.ProfileName(int(info.SliceCount), memory, m.memoryBytes, media(id)),
			Slices: int(info.SliceCount), MemoryBytes: memory, Max: int(info.InstanceCount),
		}
		for _, at := range table.MIGProfiles.GpuInstancePlacements[id] {
			p.Placements = append(p.Placements, gpu.Placement{Start: int(at.Start), Size: int(at.Size)})
		}
		m.profiles = append(m.profiles, p)
	}
	slices.SortFunc(m.profiles, func(a, b gpu.Profile) int {
		return cmp.Or(cmp.Compare(a.Slices, b.Slices), cmp.Compare(a.MemoryBytes, b.MemoryBytes), cmp.Compare(a.Name, b.Name))
	})
	return m
}

// media reports whether a profile is the one of its size with the media
// engines.
func media(profile int) bool {
	return profile == nvml.GPU_INSTANCE_PROFILE_1_SLICE_REV1 || profile == nvml.GPU_INSTANCE_PROFILE_2_SLICE_REV1
}

// table returns a copy of the profiles.
func (m model) table() []gpu.Profile {
	profiles := slices.Clone(m.profiles)
	for i := range profiles {
		profiles[i].Placements = slices.Clone(profiles[i].Placements)
	}
	return profiles
}

func (m model) profileNames() string {
	names := make([]string, len(m.profiles))
	for i, p := range m.profiles {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}
