package admission

import (
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// wish reads the restart policy that the container's owner asks for.
func (p RestartPolicy) wish(what string) (container.RestartPolicy, error) {
	if p.Name == "" {
		return container.RestartPolicy{}, nil // the engine, too, takes no name for no wish
	}
	wish := container.RestartPolicy{Name: p.Name, MaxRetries: p.MaximumRetryCount}
	if err := wish.Check(); err != nil {
		return wish, refuse(problem.ErrInvalid, what, "HostConfig.RestartPolicy: "+err.Error(),
			"Use --restart no, always, unless-stopped or on-failure[:N].")
	}
	return wish, nil
}

// restartWish is what a create request says about starting again.
func (c *Create) restartWish() (container.RestartPolicy, error) {
	wish, err := c.HostConfig.RestartPolicy.wish(notCreated)
	if err == nil && wish.Wanted() && c.HostConfig.AutoRemove {
		err = refuse(problem.ErrInvalid, notCreated, "a container can't be removed when it ends and started again as well",
			"Leave --rm or --restart away.")
	}
	return wish, err
}
