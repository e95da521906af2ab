package cli

import (
	"github.com/spf13/cobra"
)

// root builds the whole tree of commands.
func (a *app) root() *cobra.Command {
	root := noun("ds01", "Containers with GPUs, shared fairly", a.commands()...)
	root.Long = "ds01 gives every person on a GPU server containers with a GPU, within limits.\n" +
		"Plain docker works too: everything ends in the same rules."
	root.Example = "ds01 container deploy web --gpus 1\nds01 container list\nds01 user limits\nds01 doctor"
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(err.Error(), "the command line is not understood", "Run '"+c.CommandPath()+" --help'.")
	})
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { writeHelp(a.Out, c) })
	root.SetHelpCommand(helpCommand())
	flags := root.PersistentFlags()
	flags.StringVar(&a.host, "host", "", "address of the daemon (default DS01_HOST, else unix:///run/ds01/ds01.sock)")
	flags.BoolVar(&a.guided, "guided", false, "explain each step and wait for Enter")
	flags.BoolP("help", "h", false, "show this help")
	return root
}

// commands is the table of everything that can be typed after "ds01".
func (a *app) commands() []*cobra.Command {
	container := noun("container", "Your containers",
		a.containerDeploy(), a.containerCreate(), a.containerOpen(), a.containerRun(), a.containerExec(),
		a.containerStart(), a.containerStop(), a.containerUpdate(), a.containerLogs(), a.containerList(), a.containerStats(),
		a.containerRemove(), a.containerRetire(), a.containerAdopt(), a.containerCp(), a.containerRename(), a.containerPause(),
		a.containerUnpause(), a.containerPrune(), a.containerGPU(), a.containerExtend(), a.containerKeep(), a.containerUnkeep(),
		a.containerProtect(), a.containerUnprotect())
	container.PersistentFlags().StringVar(&a.user, "user", "", "act for the person called `NAME` (admins; audited)")
	completeFlag(container, "user", a.completeUsers)
	all := []*cobra.Command{
		container,
		noun("image", "Images, yours and shared ones", a.imageList(), a.imageDelete(), a.imageShare(), a.imageUnshare(), a.imageSave(), a.imageLoad()),
		noun("gpu", "The GPUs of this host", a.gpuList(), a.gpuQueue(), a.gpuReservations(), a.gpuReserve(), a.gpuUnreserve(), a.gpuWhy(), a.gpuDrain(), a.gpuUndrain(), a.gpuMIG(), a.gpuVerify(), noun("sim", "Simulated GPUs", a.gpuSimSet())),
		noun("user", "People and what they may use", a.userLimits()),
		a.exempt(),
		noun("audit", "Who asked for what, and what was decided", a.auditShow(), a.auditVerify()),
		noun("limits", "The limits file", a.limitsCheck(), a.limitsDiff(), a.limitsShow()),
		noun("policy", "The site's own rules, beyond limits", a.policyCheck(), a.policyTest(), a.policyEval()),
		a.dashboard(), a.greeting(), a.doctor(), a.install(), a.uninstall(), a.remap(), a.version(), a.completion(), a.docs(),
	}
	if a.entry.Daemon != nil {
		all = append(all, a.daemon())
	}
	if a.entry.Demo != nil {
		all = append(all, a.demo())
	}
	return all
}

// helpCommand is "ds01 help COMMAND", which people type beside --help.
func helpCommand() *cobra.Command {
	var c *cobra.Command
	c = &cobra.Command{
		Use: "help [COMMAND…]", Short: "Show how a command is used", Long: "Shows what --help shows.",
		Example: "ds01 help container deploy", DisableFlagsInUseLine: true,
		Annotations: map[string]string{noteExits: joinCodes(nil), noteGuide: "This only shows text."},
		RunE: func(_ *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(c.Root(), args[0])
			}
			return found.Help()
		},
	}
	return c
}
