package api

import (
	"fmt"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// update changes a container's resources and restart policy.
func (c *call) update() error {
	var want apitype.UpdateContainer
	if err := c.read(&want); err != nil {
		return err
	}
	policy, err := restartPolicy(want.Restart)
	if err != nil {
		return err
	}
	if err := checkUpdate(want); err != nil {
		return err
	}
	record, err := c.findMade()
	if err != nil {
		return err
	}
	u := admission.ResourceUpdate(want.MemoryBytes, want.NanoCPUs, want.Pids, policy)
	warnings, err := c.Launcher.Update(c.r.Context(), record.ID, u)
	if err != nil {
		return err
	}
	return c.show(record.ID, warnings...)
}

func checkUpdate(want apitype.UpdateContainer) error {
	refuse := func(why, next string) error {
		return &problem.Error{What: "Container not updated", Why: problem.Because(problem.ErrInvalid, why), Next: next}
	}
	if want == (apitype.UpdateContainer{}) {
		return refuse("nothing is to be changed", "Give --memory, --cpus, --pids or --restart.")
	}
	if want.MemoryBytes < 0 || want.NanoCPUs < 0 || want.Pids < 0 {
		return refuse("a limit is negative", "Give more than nothing, up to your limits: 'ds01 user limits' shows them.")
	}
	return nil
}

func restartPolicy(text string) (container.RestartPolicy, error) {
	p, err := container.ParseRestartPolicy(text)
	if err != nil {
		return p, &problem.Error{
			What: fmt.Sprintf("Restart policy %q not understood", text), Why: problem.Because(problem.ErrInvalid, err.Error()),
			Next: "Write no, always, unless-stopped, on-failure or on-failure:N.",
		}
	}
	return p, nil
}

// describeRestart shows the owner's wish, and what ds01 does about it.
func describeRestart(out *apitype.Container, r container.Record) {
	out.RestartPolicy, out.RestartCount = r.Restart.Policy.String(), r.Restart.Count
	if r.Restarting() {
		out.RestartAt, out.RestartProblem = moment(r.Restart.Due), r.Restart.Problem
	}
}
