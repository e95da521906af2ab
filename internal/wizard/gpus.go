package wizard

import (
	"fmt"
	"strconv"
)

// GPUPage is what a person should see who chooses among GPUs.
type GPUPage struct {
	Usage string    // "you hold 1 of 2 devices", "" for nothing to say
	Kinds []GPUKind // of this host, the least first
	Most  int       // of any kind that one container can have now
}

// GPUKind is what a host has of one kind, and what it costs.
type GPUKind struct {
	Name        string // "full" or the MIG profile
	Memory      string // of one
	Share       string // of a whole card, that one takes of the quota
	Free, Total int
	Most        int    // that can be had now
	Blocked     string // why none
}

const gpuFlag = "--gpus 1 or --cpu-only"

// askGPUs asks how a container is to have GPUs, of which kind, and how many.
func askGPUs(f *Form, page GPUPage) (string, error) {
	label := "GPU"
	if page.Usage != "" {
		label += " (" + page.Usage + ")"
	}
	options := []string{"one GPU, the smallest that is free", "none, CPU only"}
	if len(page.Kinds) > 0 {
		options = append(options, "choose the kind and the number")
	}
	mode, err := f.Choose(label, gpuFlag, options, 0)
	switch {
	case err != nil || mode == 1:
		return "", err
	case mode == 0:
		return "1", nil
	}
	return askKind(f, page.Kinds, page.Most)
}

// askKind asks for a kind that can be had, and for how many of it.
func askKind(f *Form, kinds []GPUKind, most int) (string, error) {
	options := []string{"any, the smallest first"}
	for _, k := range kinds {
		options = append(options, k.String())
	}
	for {
		chosen, err := f.Choose("Kind of GPU", gpuFlag, options, 0)
		switch {
		case err != nil:
			return "", err
		case chosen == 0:
			return askCount(f, "any", "", most)
		case kinds[chosen-1].Most > 0:
			return askCount(f, kinds[chosen-1].Name, "x"+kinds[chosen-1].Name, kinds[chosen-1].Most)
		}
		fmt.Fprintf(f.out, "  You can't have one now: %s\n", kinds[chosen-1].Blocked)
	}
}

// String returns the kind as it is offered.
func (k GPUKind) String() string {
	text := fmt.Sprintf("%s: %s each, %s of your share; %d of %d free", k.Name, k.Memory, k.Share, k.Free, k.Total)
	if k.Most == 0 {
		return text + ", none for you now"
	}
	return text + fmt.Sprintf(", up to %d for you now", k.Most)
}

// askCount asks for a number up to most; what can't be had for another reason,
// the daemon says.
func askCount(f *Form, kind, suffix string, most int) (string, error) {
	count, err := f.Ask(Question{
		Label: "How many (" + kind + ")", Default: "1", Flag: gpuFlag,
		Check: func(answer string) error {
			if n, err := strconv.Atoi(answer); err != nil || n < 1 || n > max(most, 1) {
				return fmt.Errorf("write a number from 1 to %d", max(most, 1))
			}
			return nil
		},
	})
	if err != nil {
		return "", err
	}
	return count + suffix, nil
}
