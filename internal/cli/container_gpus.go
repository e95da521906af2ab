package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

// gpuFlags are the flags that say what is wanted of GPUs.
type gpuFlags struct {
	set     *pflag.FlagSet
	gpus    string
	profile string
	memory  string
	full    bool
	cpuOnly bool
}

func (f *gpuFlags) register(set *pflag.FlagSet) {
	f.set = set
	set.StringVarP(&f.gpus, "gpus", "g", "1", gpusUsage)
	set.StringVar(&f.profile, "profile", "", "MIG `PROFILE` of the GPUs, such as 1g.10gb")
	set.StringVar(&f.memory, "gpu-memory", "", "least memory of each GPU, a `SIZE` such as 40GiB")
	set.BoolVar(&f.full, "full", false, "whole cards only")
	set.BoolVar(&f.cpuOnly, "cpu-only", false, "hold no GPU")
}

// given reports whether a flag says what is wanted.
func (f *gpuFlags) given() bool {
	return slices.ContainsFunc([]string{"gpus", "profile", "gpu-memory", "full", "cpu-only"}, f.set.Changed)
}

// request returns what the flags ask for, nil for no GPU.
func (f *gpuFlags) request() (*gpu.Request, error) {
	kind, flag, err := f.kind()
	if err != nil {
		return nil, err
	}
	none := f.gpus == "0" || f.gpus == "none"
	switch {
	case f.cpuOnly && (f.set.Changed("gpus") && !none || flag != ""):
		return nil, usage("--cpu-only and another wish for GPUs contradict each other", "both are given", "Leave one of them out.")
	case f.cpuOnly || none && flag == "":
		return nil, nil //nolint:nilnil // no request is a good answer
	}
	r, err := gpu.ParseRequest(f.gpus)
	switch {
	case flag == "":
		return &r, err
	case err != nil:
		return nil, err
	case r.All || len(r.Parts) > 0:
		return nil, usage("--gpus "+f.gpus+" and "+flag+" contradict each other", "beside "+flag+" --gpus is a number",
			"Write a mix behind --gpus alone, such as --gpus 2x1g.10gb,full.")
	}
	kind.Count = r.Count
	return &gpu.Request{Parts: []gpu.Part{kind}}, nil
}

// kind returns what --profile, --gpu-memory or --full asks for, and the flag.
func (f *gpuFlags) kind() (p gpu.Part, flag string, err error) {
	var flags []string
	for _, name := range []string{"profile", "gpu-memory", "full"} {
		if f.set.Changed(name) && (name != "full" || f.full) {
			flags = append(flags, "--"+name)
		}
	}
	if len(flags) > 1 {
		return p, "", usage(flags[0]+" and "+flags[1]+" contradict each other", "each says what kind of GPU is wanted", "Leave one of them out.")
	}
	if len(flags) == 0 {
		return p, "", nil
	}
	switch flag = flags[0]; flag {
	case "--full":
		p.Profile = gpu.Full
	case "--gpu-memory":
		size, err := quantity.ParseByteSize(f.memory)
		if err != nil || size <= 0 {
			return p, "", usage(fmt.Sprintf("--gpu-memory %s is no size", f.memory), "it is a number above 0 and a unit", "Write it like --gpu-memory 40GiB.")
		}
		p.MinMemory = size
	default:
		r, err := gpu.ParseRequest(f.profile)
		if err != nil || len(r.Parts) != 1 || r.Parts[0].Profile == "" || r.Devices() != 1 {
			return p, "", usage(fmt.Sprintf("--profile %s is no profile", f.profile), "a profile is called like 1g.10gb",
				"'ds01 gpu list' shows those of this host; how many is for --gpus.")
		}
		p.Profile = r.Parts[0].Profile
	}
	return p, flag, nil
}

const gpusUsage = "`WHAT` to hold: a number, all, full, mig, a profile, a size, or a mix such as 2x1g.10gb,full"

// askGPUs writes into r what is wanted of GPUs.
func askGPUs(r *apitype.CreateContainer, want *gpu.Request) { r.GPUs, r.Wanted = apiWords(want) }

// apiWords returns how the API is asked for GPUs, by a number or in words.
func apiWords(want *gpu.Request) (number int, words string) {
	switch {
	case want == nil:
		return 0, ""
	case want.All || len(want.Parts) > 0:
		return 0, want.String()
	}
	return want.Count, ""
}

// completeGPUFlags completes what can be held on this host.
func (a *app) completeGPUFlags(c *cobra.Command) *cobra.Command {
	profiles := func(words ...string) cobra.CompletionFunc {
		return func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
				gpus, err := api.GPUs(ctx)
				names := slices.Clone(words)
				for _, g := range gpus {
					if !slices.Contains(names, g.Profile) && (g.Profile != gpu.Full || len(words) > 0) {
						names = append(names, g.Profile)
					}
				}
				return names, err
			}), cobra.ShellCompDirectiveNoFileComp
		}
	}
	completeFlag(c, "gpus", profiles("1", "all"))
	completeFlag(c, "profile", profiles())
	return c
}
