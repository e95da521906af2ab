package cli

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
)

// completionPatience bounds how long the Tab key waits for the daemon.
const completionPatience = 2 * time.Second

// names asks the daemon for what could be written at the cursor. A daemon
// that is down, or refuses, completes nothing: the Tab key is no place for an
// error.
func (a *app) names(ctx context.Context, ask func(context.Context, *client.Client) ([]string, error)) []string {
	c, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	found, err := ask(ctx, c)
	if err != nil {
		return nil
	}
	return found
}

// completeContainers completes names of containers that pass the test, each
// once, up to most arguments; most < 0: any number.
func (a *app) completeContainers(most int, passes func(apitype.Container) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
			containers, err := api.Containers(ctx, false)
			var names []string
			for _, one := range containers {
				if passes(one) && !slices.Contains(args, one.Name) {
					names = append(names, one.Name)
				}
			}
			return names, err
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

func anyState(apitype.Container) bool  { return true }
func running(c apitype.Container) bool { return c.State == apitype.StateRunning }
func paused(c apitype.Container) bool  { return c.State == apitype.StatePaused }
func stopped(c apitype.Container) bool { return !running(c) && !paused(c) }

// live reports whether there are processes, which may stand still, or will be
// again by themselves.
func live(c apitype.Container) bool { return !stopped(c) || c.State == apitype.StateRestarting }

// completeUsers completes login names, which the daemon tells admins.
func (a *app) completeUsers(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
		everybody, err := api.As("").AllLimits(ctx)
		var names []string
		for _, u := range everybody {
			names = append(names, u.User)
		}
		return names, err
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeGPUs completes the uuids of GPUs.
func (a *app) completeGPUs(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
		gpus, err := api.GPUs(ctx)
		var names []string
		for _, g := range gpus {
			names = append(names, g.UUID)
		}
		return names, err
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeCards completes the numbers of cards.
func (a *app) completeCards(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
		gpus, err := api.GPUs(ctx)
		var names []string
		for _, g := range gpus {
			if name := strconv.Itoa(g.Card); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names, err
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeFiles leaves the completion of file names to the shell.
func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeFlag completes the value of a flag.
func completeFlag(c *cobra.Command, name string, with cobra.CompletionFunc) {
	_ = c.RegisterFlagCompletionFunc(name, with) // fails only for a flag that isn't there
}

// completeImages completes names of images, each once: all, or those that are
// the caller's to change.
func (a *app) completeImages(onlyOwn bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
			images, err := api.Images(ctx, false)
			var names []string
			for _, i := range images {
				for _, n := range i.Names {
					if (!onlyOwn || n.Name != n.FullName) && !slices.Contains(args, n.Name) {
						names = append(names, n.Name)
					}
				}
			}
			return names, err
		}), cobra.ShellCompDirectiveNoFileComp
	}
}
