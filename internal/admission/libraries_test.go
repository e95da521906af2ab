package admission_test

import (
	"errors"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

func TestLibrariesComeAsTheEngineCanAndTheConfigurationSays(t *testing.T) {
	const auto, cdi, hook, none = config.LibrariesAuto, config.LibrariesCDI, config.LibrariesHook, config.LibrariesNone
	everything := container.EngineInfo{CDI: true, CDISpec: true, Hook: true}
	for name, c := range map[string]struct {
		engine     container.EngineInfo
		configured string
		want       string
	}{
		"CDI before the hook":                 {everything, auto, admission.LibrariesCDI},
		"CDI without NVIDIA's specification":  {container.EngineInfo{CDI: true, Hook: true}, auto, admission.LibrariesHook},
		"a specification, but no CDI":         {container.EngineInfo{CDISpec: true, Hook: true}, auto, admission.LibrariesHook},
		"neither":                             {container.EngineInfo{}, auto, admission.LibrariesNone},
		"what is configured wins":             {everything, hook, admission.LibrariesHook},
		"none is a choice":                    {everything, none, admission.LibrariesNone},
		"a specification of another name":     {container.EngineInfo{CDI: true}, cdi, admission.LibrariesCDI},
		"a hook that only the engine can see": {container.EngineInfo{}, hook, admission.LibrariesHook},
	} {
		got, err := admission.LibrariesOn(c.engine, config.GPU{Provider: config.NVML, Libraries: c.configured})
		if got != c.want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if got, err = admission.LibrariesOn(c.engine, config.GPU{Provider: config.Sim, Libraries: c.configured}); got != admission.LibrariesNone || err != nil {
			t.Errorf("%s, simulated: %q, %v", name, got, err)
		}
	}
}

func TestCDIThatTheEngineHasntGotIsRefused(t *testing.T) {
	engine := container.EngineInfo{Version: "20.10.24", CDISpec: true, Hook: true}
	_, err := admission.LibrariesOn(engine, config.GPU{Provider: config.NVML, Libraries: config.LibrariesCDI})
	if !errors.Is(err, problem.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	for _, word := range []string{"GPU not granted", "gpu.libraries is cdi", "Docker 20.10.24 has no CDI", "hook"} {
		if !strings.Contains(problem.OneLine(err), word) {
			t.Errorf("%q is not in %s", word, problem.OneLine(err))
		}
	}
	if _, err := admission.LibrariesOn(engine, config.GPU{Provider: config.Sim, Libraries: config.LibrariesCDI}); err != nil {
		t.Errorf("simulated GPUs need no libraries, but: %v", err)
	}
}
