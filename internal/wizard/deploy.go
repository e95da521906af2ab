package wizard

import (
	"errors"
	"fmt"

	"ds01.dev/ds01/internal/account"
)

// Deploy is what a person wants of a new container.
type Deploy struct {
	Name  string
	Image string
	GPUs  string // as gpu.ParseRequest reads it, "" for none
}

// DeployForm says what the questions start from.
type DeployForm struct {
	DefaultImage string       // offered; "": none is configured
	Image        string       // set already: not asked
	AskGPUs      bool         // ask for GPUs or none
	Explain      func() error // says what the question about GPUs is about; nil: nothing
	GPUs         GPUPage      // what that question shows
}

// AskDeploy asks for a name, an image and a GPU, as far as they are open.
func AskDeploy(f *Form, start DeployForm) (Deploy, error) {
	answers := Deploy{Image: start.Image}
	var err error
	answers.Name, err = f.Ask(Question{Label: "Name of the new container", Flag: "ds01 container deploy NAME", Check: checkName})
	if err != nil {
		return Deploy{}, err
	}
	if answers.Image == "" {
		answers.Image, err = f.Ask(Question{Label: "Image", Default: start.DefaultImage, Flag: "--image IMAGE"})
		if err != nil {
			return Deploy{}, err
		}
	}
	if start.AskGPUs {
		if start.Explain != nil {
			if err := start.Explain(); err != nil {
				return Deploy{}, err
			}
		}
		if answers.GPUs, err = askGPUs(f, start.GPUs); err != nil {
			return Deploy{}, err
		}
	}
	return answers, nil
}

func checkName(name string) error {
	if account.ValidContainerName(name) {
		return nil
	}
	return fmt.Errorf("%q can't be a name: %w", name, errName)
}

var errName = errors.New("use letters, digits, '_', '.' and '-', begin with a letter or digit")
