package admission_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
)

var update = flag.Bool("update", false, "write the page anew")

const page = "../../docs/admins/docker-api.md"

// does says in one sentence what becomes of each operation.
func does() map[admission.Op]string {
	const own = "Of one's own container. Passes to the engine under the container's full id; the answer streams back."
	const copying = "Decided: of one's own container, under its full id. The engine copies as root of the host, so the container stands still meanwhile and finds nothing where its owner's directories are mounted; paths at or below them, and containers with mounts that ds01 didn't make, are refused."
	return map[admission.Op]string{
		admission.Ping:             "Answered for an engine that is up; one that isn't is asked.",
		admission.Version:          "Passes.",
		admission.Info:             "Rewritten: counts are the caller's own; labels, swarm, plugins, registries and proxies are left out. Administrators see it whole.",
		admission.Events:           "Rewritten: only events of one's own containers, in one's own names. Administrators see all.",
		admission.ImagePull:        "Passes with the client's registry login; what is pulled is everybody's. Import (`fromSrc`) and names in somebody's own repository (`ds01-<uid>/`) are refused.",
		admission.ImageList:        "Rewritten: shared images and one's own.",
		admission.ImageInspect:     "Passes for shared images and one's own; the names of others' are left out.",
		admission.ContainerList:    "Rewritten: one's own containers, in one's own names, with one's own paths. Administrators see all.",
		admission.ContainerCreate:  "Decided: read strictly, reviewed, and sent as a body of ds01's own making (below). GPUs are claimed first.",
		admission.ContainerInspect: "Rewritten: of one's own container, with the person's own name, image and paths.",
		admission.ContainerTop:     own + " `ps_args` may hold letters, digits and `,=:-` only.",
		admission.ContainerLogs:    own,
		admission.ContainerStats:   own,
		admission.ContainerStart:   "Decided: GPUs that were given back are asked for again, limits and mounts renewed, what the engine has stored is checked (below), then started. A body is refused.",
		admission.ContainerStop:    "Of one's own container; `t` is kept within `stop_timeout`. What it holds is in step before the answer.",
		admission.ContainerRestart: "Decided: a stop and a start, as above.",
		admission.ContainerUpdate:  "Decided: read strictly, reviewed, and sent as a body of ds01's own making (below); the restart policy goes to ds01's own record.",
		admission.ContainerKill:    "Of one's own container. Passes under its full id; goes on when the client hangs up.",
		admission.ContainerWait:    "Of one's own container. Passes; what it held is in step before the answer.",
		admission.ContainerResize:  "Of one's own container. Passes under its full id.",
		admission.ContainerAttach:  "Of one's own container. A stream of its own, spliced after the engine agreed.",
		admission.ContainerRemove:  "Of one's own container. Passes under its full id; what it held is free before the answer.",
		admission.ArchiveStat:      copying + " Answered in the engine's words; a path that is refused is said to be a directory, so that clients go on to the request that tells why.",
		admission.ArchiveGet:       copying + " The archive streams back as it is.",
		admission.ArchivePut:       copying + " The archive is written anew on its way: gzip and bzip2 are undone by ds01, other compression is refused, as are devices, names with `..`, and attributes other than `user.*` and `security.capability`.",
		admission.ContainerExport:  own + " What is mounted isn't part of it.",
		admission.ContainerChanges: "Of one's own container, which stands still meanwhile. Passes to the engine under its full id.",
		admission.ContainerRename:  "Decided: the name is the owner's, and conflicts with their own only. The record changes first, the engine follows.",
		admission.ContainerPause:   "Of one's own container. It goes on holding what it holds.",
		admission.ContainerUnpause: "Of one's own container.",
		admission.ContainerPrune:   "Synthesised: the caller's own containers that don't run and pass the filters `until`, `label`, `label!` are removed one by one, as `DELETE` does; also for administrators only their own.",
		admission.ExecCreate:       "Decided: read strictly; privileged commands and work in `/proc` are refused, `NVIDIA_*` variables dropped. Beside host mounts on an engine that doesn't remap users, or whose file system can't map ids, it runs as the owner.",
		admission.ExecStart:        "Of an exec in one's own container. A stream of its own, spliced after the engine agreed.",
		admission.ExecResize:       "Of an exec in one's own container. Passes.",
		admission.ExecInspect:      "Of an exec in one's own container. Passes.",
	}
}

func render(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`# The Docker API that people reach

This page is made from the tables that the gateway works by
(` + "`go test ./internal/admission -run TestPage -update`" + `).

People's Docker clients talk to ds01, not to the engine. Who asks is what the
kernel says about the socket's other end. A request takes one of the routes
below or is refused with 403; a query key that isn't listed is refused as well,
unless it is empty. Paths are refused when they are encoded, not clean, or not
of a version ` + "`/v1.NN/`" + ` that the engine speaks. Names and ids are looked up
among the caller's own containers: somebody else's is a 404, as if it didn't
exist. What goes to the engine is always a request of ds01's own making, with
full ids, one value for each query key, and no header of the client but a
registry login.

Errors have Docker's own shape, ` + "`{\"message\": \"ds01: what: why. What to do next.\"}`" + `:
400 invalid, 403 refused, 404 not yours or not there, 409 conflict, 429 over a
limit, 503 no capacity or the engine is down.

## Routes

How an answer comes about: it *passes* (asked by full ids, answered in the
engine's words), is *rewritten* (the engine's answer less what isn't the
caller's, in their own names), *synthesised* (ds01's own), *decided* (read,
reviewed, and asked in ds01's words), *refused*, or there is nothing of the kind
(*absent*: 404, so that ` + "`docker inspect`" + ` goes on to the next kind). What speaks
of objects is for their owner; administrators reach everybody's.

| route | for | how | what is done | query keys |
|---|---|---|---|---|
`)
	sentences := does()
	for _, r := range admission.Routes() {
		sentence := sentences[r.Op]
		if r.Why != "" {
			sentence = strings.ToUpper(r.Why[:1]) + r.Why[1:] + "."
		}
		if sentence == "" {
			t.Errorf("say what becomes of %s", r.Op)
		}
		keys := "–"
		if len(r.Query) > 0 {
			keys = "`" + strings.Join(r.Query, "` `") + "`"
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s | %s |\n", r.Method, r.Pattern, r.Who, r.How, sentence, keys)
	}
	b.WriteString(`
These are all routes of the API up to 1.56; a path that is none of them, and the
method OPTIONS, are refused.

## Creating a container

The body is read strictly: a key that isn't known, is written in another case
or comes twice, a second document, more than 1 MiB or 64 levels are refused.
Then every field is either one of these

| field | what becomes of it |
|---|---|
`)
	fields := taken()
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", field, fields[field])
	}
	b.WriteString(`
or one of these, which are refused as soon as they ask for something:

| field | why |
|---|---|
`)
	for _, r := range admission.Refusals() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Field, r.Why)
	}
	b.WriteString(`
Above a limit means a refusal that names the number, the limit and the line of
the limits file it comes from. Zero and -1 never mean "without a limit".
`)
	renderUpdate(&b)
	b.WriteString(startingPage)
	return b.Bytes()
}

func TestPage(t *testing.T) {
	want := render(t)
	if *update {
		if err := os.MkdirAll("../../docs/admins", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, page); !bytes.Equal(got, want) {
		t.Errorf("%s is behind the code: go test ./internal/admission -run TestPage -update", page)
	}
	if len(does()) != len(operations()) {
		t.Error("a sentence speaks of an operation that has no route")
	}
}

func operations() map[admission.Op]bool {
	ops := map[admission.Op]bool{}
	for _, r := range admission.Routes() {
		if r.Op != "" {
			ops[r.Op] = true
		}
	}
	return ops
}
