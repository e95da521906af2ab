package admission_test

import (
	"bytes"
	"fmt"

	"ds01.dev/ds01/internal/admission"
)

func renderBuild(b *bytes.Buffer) {
	b.WriteString(`
## Building an image by the classic builder

The query of ` + "`POST /build`" + ` is one of ds01's making. Of each parameter:

| parameter | what becomes of it |
|---|---|
`)
	for _, p := range admission.BuildParameters() {
		if p.Why == "" {
			fmt.Fprintf(b, "| `%s` | %s |\n", p.Name, p.What)
		} else {
			fmt.Fprintf(b, "| `%s` | refused: %s |\n", p.Name, p.Why)
		}
	}
	b.WriteString(buildingPage)
}

// buildingPage says what no table holds.
const buildingPage = `
` + "`X-Registry-Config`" + ` is read strictly; a login goes to the registry that it is
for. No other header goes on.

The context is a tar archive, plain or compressed with gzip or bzip2. It isn't
stored by ds01. Devices, sparse files, names that climb, entries behind links
and the name ` + "`.ds01-dockerfile`" + ` are refused, and a Dockerfile or
` + "`.dockerignore`" + ` above 1 MiB or that is a link. The engine reads
` + "`.ds01-dockerfile`" + `, which ds01 writes last, and takes it out of the context
again before the first step: a line of the context's ` + "`.dockerignore`" + ` says so,
which is all that ` + "`COPY .`" + ` can show of it.

Of the Dockerfile:

- ` + "`FROM`" + ` and ` + "`COPY --from`" + ` name stages, images of one's own or shared ones;
  variables of ` + "`FROM`" + ` are replaced by ds01. Others' images aren't there. A
  shared image that isn't there is pulled first, with the rules of a pull.
- ` + "`ADD`" + ` of an address is refused: the engine would fetch it from the host's own
  network. A source that holds variables is always a path.
- Here-documents, options of ` + "`RUN`" + `, options of ` + "`COPY`" + ` and ` + "`ADD`" + ` with quotes,
  lines that end with two escapes, labels that only ds01 writes and a
  ` + "`WORKDIR`" + ` in ` + "`/proc`" + ` are refused.
- ` + "`ONBUILD`" + ` of the image that is built on is held to the same; a ` + "`RUN`" + ` among
  them needs ` + "`--no-cache`" + `, ` + "`COPY --from`" + ` there is refused.
- Each stage begins with a step of ds01's, which isn't shown: it gives the image
  the label ` + "`aime.mlc.DS01_UID`" + `. So the cache of one person's steps is never
  another's; stages that begin with ` + "`FROM scratch`" + ` are built anew each time.

No request can take ` + "`CAP_MKNOD`" + ` from steps, nor, on cgroup v1, give them a
cgroup namespace (` + "`default-cgroupns-mode`" + ` in the engine's ` + "`daemon.json`" + ` does). Under
remapped users ` + "`mknod`" + ` fails all the same; elsewhere a node that a step makes is
in an image only, and opens in no container that wasn't granted the device. Where
the engine runs everything by another runtime than ` + "`runc`" + `, builds are refused:
NVIDIA's gives devices to whatever has a variable.

What a build leaves without a name, of a stage or of the last step before one
that failed, is its maker's, in lists, ` + "`df`" + ` and ` + "`prune`" + `. Images in between have no
owner: ` + "`images -a`" + ` doesn't show them, and they go with the last that was made
of them.
`
