package api

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/safety"
	"ds01.dev/ds01/internal/sampler"
)

// doctor tells the caller what works and what is missing for them, and whom
// to ask.
func (c *call) doctor() error {
	state := c.State()
	roles := account.RolesOf(c.owner, state.Groups)
	checks := []apitype.Check{
		c.checkEngine(state),
		checkGroup("container group", roles.Docker, c.owner, state.Groups.Docker, "use containers"),
		checkGroup("gpu group", roles.GPU, c.owner, state.Groups.GPU, "hold GPUs"),
		c.checkImage(state),
		c.checkGPUs(),
		checkDisk(state.Space),
	}
	if c.roles.Admin || state.PolicyProblem != "" && !state.PolicyStays {
		checks = append(checks, checkPolicy(state, c.roles.Admin))
	}
	checks = append(checks, c.checkQuota()...)
	if c.owner.InGroup("docker") && !c.roles.Admin && state.Groups.Docker != "docker" {
		checks = append(checks, safety.JudgeMember(c.owner.Name))
	}
	if c.roles.Admin {
		checks = append(checks, c.checkHost(state)...)
	}
	if c.roles.Admin && c.Facts != nil {
		checks = append(checks, safety.Judge(c.Facts(c.r.Context()))...)
	}
	left, err := c.leftOver()
	if err != nil {
		checks = append(checks, warn("orphans", "What was left over isn't known: "+err.Error()+".", "See the engine's line."))
	} else if c.roles.Admin || len(left) > 0 {
		checks = append(checks, checkOrphans(left, c.roles.Admin))
	}
	return c.answer(apitype.Doctor{Checks: checks, Orphans: left})
}

func ok(name, detail string) apitype.Check {
	return apitype.Check{Name: name, Result: apitype.CheckOK, Detail: detail}
}

func warn(name, detail, next string) apitype.Check {
	return apitype.Check{Name: name, Result: apitype.CheckWarn, Detail: detail, Next: next}
}

func fail(name, detail, next string) apitype.Check {
	return apitype.Check{Name: name, Result: apitype.CheckFail, Detail: detail, Next: next}
}

func (c *call) checkEngine(state State) apitype.Check {
	if !state.EngineUp {
		return fail("engine", "The Docker engine doesn't answer; running containers are not affected.", "Tell your administrators: systemctl status docker.")
	}
	if names := c.silent(); len(names) > 0 {
		return warn("engine", "The Docker engine answers, but says nothing about "+strings.Join(names, ", ")+". What runs there runs on and keeps what it holds.",
			"It may be at a long copy. If it lasts, administrators: end its containerd-shim (ps ax, by the container's id), which ends what runs there.")
	}
	isolation := "root in a container is nobody on the host"
	if !state.Engine.Remapped {
		isolation = "containers with your directories run as you"
	}
	return ok("engine", fmt.Sprintf("Docker %s, API %s; %s.", state.Engine.Version, state.Engine.API, isolation))
}

// silent names the containers that the engine says nothing about: one's own, to
// administrators all.
func (c *call) silent() []string {
	var names []string
	for _, id := range c.Reconciler.Silent() {
		record, known := c.Ledger.ByContainer(id)
		switch {
		case known && record.UID == c.owner.UID:
			names = append(names, fmt.Sprintf("your container %s (%.12s)", record.Name, id))
		case known && c.roles.Admin:
			names = append(names, fmt.Sprintf("%s's container %s (%.12s)", record.Login, record.Name, id))
		case c.roles.Admin:
			names = append(names, fmt.Sprintf("container %.12s", id))
		}
	}
	return names
}

func checkGroup(name string, member bool, who account.Account, group, what string) apitype.Check {
	if member {
		return ok(name, fmt.Sprintf("%s may %s.", who.Name, what))
	}
	return fail(name, fmt.Sprintf("%s may not %s: not in the group %s.", who.Name, what, group),
		fmt.Sprintf("Ask your administrators to add you: gpasswd -a %s %s. It holds at once, without a new login.", who.Name, group))
}

func (c *call) checkImage(state State) apitype.Check {
	if state.DefaultImage == "" {
		return warn("image", "No default image is configured; name one with --image.", "Administrators set images.default in ds01.yaml.")
	}
	switch _, err := c.Engine.Image(c.r.Context(), state.DefaultImage); {
	case errors.Is(err, problem.ErrNotFound):
		return warn("image", fmt.Sprintf("The default image %s isn't on this host yet.", state.DefaultImage), "docker pull "+state.DefaultImage)
	case err != nil:
		return fail("image", "The engine can't be asked for the default image.", "See the engine's line.")
	}
	return ok("image", fmt.Sprintf("The default image %s is here.", state.DefaultImage))
}

// checkDisk says how near the engine's disk is to what must stay free.
func checkDisk(s container.Space) apitype.Check {
	const name = "disk"
	detail := fmt.Sprintf("The engine's disk has %s of %s free; %s must stay free (disk.keep_free).", s.Free.Rounded(), s.Total.Rounded(), s.Keep.Rounded())
	const next = "Remove what nobody needs: docker image prune -a, docker container prune, docker volume prune."
	switch {
	case !s.Known && s.Path == "":
		return warn(name, "How full the engine's disk is isn't known before the engine answers.", "See the engine's line.")
	case !s.Known:
		return warn(name, fmt.Sprintf("The engine keeps its data in %s, which isn't on this host: nobody is kept from filling its disk.", s.Path), "Administrators: run ds01 where the engine's data is.")
	case s.Free < s.Keep:
		return fail(name, detail+" No image is pulled, loaded, imported or committed, no container made, nothing copied into one.", next)
	case s.Free < 2*s.Keep:
		return warn(name, detail, next)
	}
	return ok(name, detail)
}

func (c *call) checkGPUs() apitype.Check {
	all, free, sick, mend := len(c.Devices()), 0, []string{}, []string{}
	holders, taken, strangers := c.holders(), c.Ledger.Taken(), c.Warden.Strangers()
	for _, d := range c.Devices() {
		if present := strangers[d.UUID]; len(present) > 0 {
			sick = append(sick, d.Slot+": "+gpu.Presence(present))
			mend = append(mend, d.Slot+": have them ended, 'ds01 container adopt' what they run in, or allow the program (gpu.allow_programs).")
			continue
		}
		if d.Problem != "" {
			sick = append(sick, d.Slot+": "+d.Problem)
			mend = append(mend, d.Slot+": "+cmp.Or(d.Mend, "see the driver's log."))
		} else if _, quarantined := taken[d.UUID]; holders[d.UUID] == nil && !quarantined {
			free++
		}
	}
	switch {
	case all == 0:
		return fail("gpus", "This host has no GPU that can be granted.", "Administrators: check the driver with nvidia-smi, and MIG instances where MIG is on.")
	case len(sick) > 0:
		return warn("gpus", fmt.Sprintf("%d of %d GPUs and MIG instances are free; not granted: %s.", free, all, strings.Join(sick, "; ")), "Administrators: "+strings.Join(mend, " "))
	}
	return ok("gpus", fmt.Sprintf("%d of %d GPUs and MIG instances are free.", free, all))
}

// checkQuota says which of the person's limits are reached or nearly so.
func (c *call) checkQuota() []apitype.Check {
	var checks []apitype.Check
	l := c.limitsOf(c.owner)
	for _, u := range l.Usage {
		if u.Unlimited || u.Limit <= 0 || u.Used < 0.8*u.Limit {
			continue
		}
		detail := fmt.Sprintf("%s: %s in use.", u.Label, u.Text)
		if u.Used >= u.Limit {
			checks = append(checks, warn("quota", detail, "Stop and remove what you don't need: container list, container retire NAME."))
		} else {
			checks = append(checks, warn("quota", detail, "Close to the limit."))
		}
	}
	if len(checks) == 0 {
		group := l.Group
		if group == "" {
			group = "defaults"
		}
		checks = append(checks, ok("quota", fmt.Sprintf("Within every limit of %s.", group)))
	}
	return checks
}

// checkHost adds what only administrators can mend.
func (c *call) checkHost(state State) []apitype.Check {
	var checks []apitype.Check
	if state.LimitsProblem != "" {
		checks = append(checks, fail("limits file", "The file on disk is not in force, the last good one is: "+state.LimitsProblem, "Correct it, then: systemctl reload ds01."))
	} else {
		checks = append(checks, ok("limits file", "The limits file on disk is in force."))
	}
	if state.AuditProblem != "" {
		checks = append(checks, fail("audit log", "It can't be written, so nothing can be changed: "+state.AuditProblem, "Make room on its disk, or mend it; ds01 goes on by itself."))
	} else {
		checks = append(checks, ok("audit log", "It is written; 'ds01 audit verify' checks that it is whole."))
	}
	checks = append(checks, checkMail(state))
	if q := c.Reconciler.Quarantined(); len(q) > 0 {
		names := make([]string, len(q))
		for i, o := range q {
			names[i] = o.Name
		}
		checks = append(checks, warn("quarantine", fmt.Sprintf("%d containers are unknown to ds01: %s.", len(q), strings.Join(names, ", ")),
			"Give each an owner with 'container adopt NAME --user USER', or remove it at the engine's own socket."))
	}
	pending := 0
	for _, r := range c.Ledger.Records() {
		if r.State == gpu.Pending {
			pending++
		}
	}
	if pending > 0 {
		checks = append(checks, warn("claims", fmt.Sprintf("%d claims wait for the engine's word.", pending), "They are settled within a minute once the engine answers."))
	}
	checks = append(checks, checkLibraries(state), checkAtStart(state))
	checks = append(checks, checkActivity(state.Gaps)...)
	for _, w := range state.Warnings {
		checks = append(checks, warn("host", w, "See the daemon's log."))
	}
	return checks
}

// checkMail says whether people get mail.
func checkMail(state State) apitype.Check {
	const name = "mail"
	switch {
	case state.MailHook == "":
		return ok(name, "Nobody gets mail of ds01: mail.hook in ds01.yaml is empty.")
	case state.MailProblem != "":
		return warn(name, "Of the mails to people "+state.MailProblem+".", "Mend the program "+state.MailHook+"; docs/admins/mail.md says how it is called.")
	}
	return ok(name, "Mails to people are handed to "+state.MailHook+".")
}

// checkPolicy says whether the site's own rules are in force. What they hold is
// for administrators.
func checkPolicy(state State, admin bool) apitype.Check {
	const name = "site policy"
	const next = "Correct it ('ds01 policy check /etc/ds01/policy'), then: systemctl reload ds01."
	const nothing = "It is broken, so no container is created or started and no image pulled or pushed"
	switch {
	case state.PolicyProblem != "" && !admin:
		return fail(name, nothing+".", "Tell your administrators.")
	case state.PolicyProblem != "" && state.PolicyStays:
		return fail(name, "The rules on disk are not in force, the last good ones are: "+state.PolicyProblem+".", next)
	case state.PolicyProblem != "":
		return fail(name, nothing+": "+state.PolicyProblem+".", next)
	case state.PolicyRules == 0:
		return ok(name, "There is none: limits alone decide.")
	}
	return ok(name, fmt.Sprintf("%d rules are in force.", state.PolicyRules))
}

// checkAtStart says whether a stopped container can start on other GPUs.
func checkAtStart(state State) apitype.Check {
	const name = "gpus at start"
	switch {
	case state.Engine.Version == "":
		return warn(name, "Whether the engine can give containers their GPUs at each start isn't known before it answers.", "See the engine's line.")
	case !state.Engine.AtStart:
		return warn(name, "A stopped container whose GPU went to somebody else starts on no other: the engine doesn't know the runtime ds01.",
			`Add "runtimes": {"ds01": {"path": "/usr/lib/ds01/ds01-runtime"}} to /etc/docker/daemon.json, then: systemctl reload docker && systemctl restart ds01.`)
	case state.Libraries == config.LibrariesCDI:
		return warn(name, "A stopped container whose GPU went to somebody else starts on no other: with CDI the engine has stored which it gets.",
			"With gpu.libraries: hook in ds01.yaml, containers that are made from then on can.")
	}
	return ok(name, "Containers get their GPUs at each start: one whose GPU went to somebody else starts on another.")
}

// checkLibraries says how driver libraries come into containers, and what
// keeps them from it.
func checkLibraries(state State) apitype.Check {
	const name = "gpu libraries"
	by := "Driver libraries come into containers by " + state.Libraries
	switch e := state.Engine; {
	case state.GPUProvider == config.Sim:
		return ok(name, "The GPUs are simulated: containers get device nodes and no driver libraries.")
	case state.LibrariesProblem != nil:
		p := problem.Describe(state.LibrariesProblem)
		return fail(name, p.Title+": "+p.Detail+".", p.Next)
	case e.Version == "":
		return warn(name, "How driver libraries come into containers isn't known before the engine answers.", "See the engine's line.")
	case state.Libraries == config.LibrariesNone:
		return warn(name, "Containers get GPUs but no driver libraries: the engine knows neither CDI nor NVIDIA's hook, or gpu.libraries is none.",
			"Install nvidia-container-toolkit, or set gpu.libraries in ds01.yaml.")
	case state.Libraries == config.LibrariesCDI && !e.CDISpec:
		return warn(name, by+", but where the engine looks there is no nvidia.yaml: containers with GPUs may not start.", "Make it with 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml'.")
	case state.Libraries == config.LibrariesHook && !e.Hook:
		return warn(name, by+", but nvidia-container-runtime-hook isn't on ds01's PATH: containers with GPUs don't start unless it is on the engine's.", "Install nvidia-container-toolkit, and restart the engine.")
	}
	return ok(name, by+".")
}

// checkActivity says what isn't known of what containers do.
func checkActivity(gaps []sampler.Gap) (checks []apitype.Check) {
	for _, g := range gaps {
		switch {
		case g.Never:
			checks = append(checks, warn("activity", "What containers do to disks is counted nowhere on this host, and is left out when it is judged whether one is idle.",
				"Take a kernel that counts it: CONFIG_TASK_IO_ACCOUNTING, or the io controller of control groups v2."))
		case g.Figure == "GPU":
			checks = append(checks, warn("activity", fmt.Sprintf("How busy its GPU is wasn't told of %d containers: they count as busy.", g.Containers),
				"'ds01 gpu list' shows whose use isn't known. Of a MIG instance few drivers tell it; it counts as busy while a process has it open."))
		default:
			checks = append(checks, warn("activity", fmt.Sprintf("The %s of %d containers couldn't be read, and they count as busy: %s.", g.Figure, g.Containers, cmp.Or(g.Why, "nothing says why")),
				"That a container has just ended passes; else the kernel lacks what is named."))
		}
	}
	if len(checks) == 0 {
		checks = append(checks, ok("activity", "What containers do is known."))
	}
	return checks
}
