package admission_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"ds01.dev/ds01/internal/admission"
)

// renderUpdate writes what becomes of an update.
func renderUpdate(b *bytes.Buffer) {
	b.WriteString(`
## Updating a container

The body is read as strictly. What is left out or zero stays as it is, as for
Docker. Every other field is either one of these

| field | what becomes of it |
|---|---|
`)
	fields := updatable()
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(b, "| `%s` | %s |\n", field, fields[field])
	}
	b.WriteString(`
or one of these, which are refused as soon as they ask for something:

| field | why |
|---|---|
`)
	for _, r := range admission.UpdateRefusals() {
		fmt.Fprintf(b, "| `%s` | %s |\n", r.Field, r.Why)
	}
}

const startingPage = `
## Starting again

A restart policy is followed by ds01 and not by the engine, which always gets
` + "`no`" + `: the engine would start a container on missing mounts or on a GPU that
somebody else holds by now. ` + "`docker inspect`" + ` shows the policy that was asked for
and how often ds01 has started the container since somebody did.

- A container that ends by itself is started again after 100 ms, then after
  twice as long each time, up to a minute; from the beginning once it has run
  for 10 s. ` + "`on-failure`" + ` means an exit code other than 0, and ` + "`on-failure:N`" + ` N
  starts at most.
- A stop, a removal, and each signal of ` + "`docker kill`" + ` but HUP, USR1, USR2, CONT
  and WINCH count as its owner's wish that it ends. It then stays so, and so
  does a container that waits to be started again.
- When the engine or ds01 comes up, what ended meanwhile is started again.
  ` + "`always`" + ` then also starts what was stopped by hand, ` + "`unless-stopped`" + ` doesn't.
- Each start is one like any other (below). A GPU that can't be had again is
  waited for, and so is everything else that keeps the container from starting:
  ` + "`container list`" + ` and the log say what. It never starts with less than it had.
- Changing the policy of a container that doesn't run doesn't start it.
- While it waits, ` + "`docker inspect`" + ` and ` + "`container list`" + ` call it restarting. The
  engine, and so ` + "`docker ps`" + `, calls it exited, and ` + "`docker wait`" + ` answers at once.

## What is checked at each start

The engine is asked what it has stored for the container, and that is reviewed
as if it were asked for now: limits may have been lowered since, or the
configuration changed past ds01. Memory, processors and processes above the
limit are brought within it, those that limits have kept below what was asked for
are raised, and a restart policy at the engine is taken away.
Anything else that nobody may ask for, or that isn't what ds01 wrote (control
group, devices, mounts, dropped capabilities), is a refusal that names the
field: make the container anew.

A container that was made past ds01 and adopted keeps the control group, mounts
and devices that it was made with. What reaches beyond it (the first table of
refusals above, the host's network or shared memory, a mount of the host's
folders) its owner can't start; administrators can.
`
