package admission

import (
	"fmt"

	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// Ways for driver libraries to come into a container, as config spells them.
const (
	LibrariesNone = "none"
	LibrariesCDI  = "cdi"
	LibrariesHook = "hook"
)

// LibrariesOn decides how driver libraries come into containers on an engine.
// CDI that is configured and that the engine hasn't got is an error of kind
// problem.ErrUnavailable, and no GPU is granted: the engine would make such a
// container and then not start it, for a reason that tells nobody what to do.
// Whether it has the hook only its own PATH knows, so that is not refused.
func LibrariesOn(e container.EngineInfo, c config.GPU) (string, error) {
	switch {
	case c.Provider == config.Sim:
		return LibrariesNone, nil
	case c.Libraries == config.LibrariesCDI && !e.CDI:
		return LibrariesNone, &problem.Error{
			What: "GPU not granted",
			Why:  problem.Because(problem.ErrUnavailable, fmt.Sprintf("gpu.libraries is cdi in ds01.yaml, but Docker %s has no CDI", e.Version)),
			Next: `Administrators: Docker has it from 25 on, before 28.2 with "features": {"cdi": true} in daemon.json; or set gpu.libraries to auto or hook and restart ds01.`,
		}
	case c.Libraries != config.LibrariesAuto:
		return c.Libraries, nil
	case e.CDI && e.CDISpec:
		return LibrariesCDI, nil
	case e.Hook:
		return LibrariesHook, nil
	}
	return LibrariesNone, nil
}
