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
	const copying = "Decided: of one's own container, under its full id, which runs on but isn't started meanwhile. ds01 copies itself: it opens the container's own files, or the volume at or below whose place the path lies, and never leaves them, whatever names change on the way. (With a storage driver other than `overlay2` engines from 23.0 on are let copy: the container stands still, and they find nothing where the owner's directories and volumes are mounted. Older ones aren't.) Paths at or below the owner's directories, and containers with mounts that ds01 didn't make, are refused."
	return map[admission.Op]string{
		admission.Ping:              "Answered for an engine that is up; one that isn't is asked.",
		admission.Version:           "Passes.",
		admission.Info:              "Rewritten: what speaks of others or of how the host is set up is left out, and counts are the caller's own (below). Administrators see it whole.",
		admission.Events:            "Rewritten: only events of one's own containers, images, volumes and networks, and of shared images, in one's own names and of no container but one's own. What is gone is remembered for ten minutes. Administrators see all.",
		admission.ImageCreate:       "A pull goes on with the client's registry login, from the registries of `images.registries` in `ds01.yaml`; what is pulled is everybody's. Below `disk.keep_free` nothing is pulled or imported, and what goes on is ended. An import reads what the client sends, never an address, and is the caller's. What is imported, loaded or committed while ds01 ends or the answer is lost becomes its maker's all the same. Names in somebody's own repository (`ds01-<uid>/`) are refused.",
		admission.ImageList:         "Rewritten: shared images and one's own, in one's own names; a shared name that means an image of one's own is left out. What has no name is seen by whoever made it.",
		admission.ImageInspect:      "Of a shared image, one's own, or one that one's container runs; in one's own names.",
		admission.ImageHistory:      "As above.",
		admission.ImageTag:          "The new name is in one's own repository, also where it has a registry's host: no shared image loses its name. Administrators write names as they are, for everybody.",
		admission.ImageRemove:       "Takes away one's own names, and the image once no other name, owner or container needs it; what somebody else needs gets the name `untagged:<id>` of theirs. Shared ones are for administrators.",
		admission.ImagePrune:        "One's own images that no container uses and that pass the filters `dangling`, `until`, `label`, `label!`; for administrators also those that are nobody's.",
		admission.ImagePush:         "With the client's registry login, to the registries of `images.registries`. The engine knows the image by its registry's name for as long as it is pushed, and nobody sees it by that name; where a shared image has the name already, the push is refused.",
		admission.ImageLoad:         "The archive goes on with marks of ds01's in the place of the names in it; its images are the caller's, and get the names in the caller's own repository afterwards. It needs room on the engine's disk for the archive and for what is in it above `disk.keep_free`.",
		admission.ImageSave:         "Of shared images and one's own; the archive holds one's own names.",
		admission.ImageSaveOne:      "As above.",
		admission.ImageSearch:       "Passes with the client's registry login.",
		admission.ImageCommit:       "Of one's own container. Body and `changes` are read strictly; the image is the caller's, named in their own repository. The container stands still meanwhile, whatever `pause` says, and the engine is given a snapshot of its files, whose names nobody changes. It needs room for what the container has written above `disk.keep_free`.",
		admission.Distribution:      "Passes with the client's registry login.",
		admission.Auth:              "Read strictly, sent to the registry by the engine, kept and logged nowhere.",
		admission.ContainerList:     "Rewritten: one's own containers, in one's own names, with one's own paths. Administrators see all.",
		admission.ContainerCreate:   "Decided: read strictly, reviewed, and sent as a body of ds01's own making (below). GPUs are claimed first. Below `disk.keep_free` nothing is created.",
		admission.ContainerInspect:  "Rewritten: of one's own container, with the person's own name, image and paths.",
		admission.ContainerTop:      own + " `ps_args` may hold letters, digits and `,=:-` only.",
		admission.ContainerLogs:     own,
		admission.ContainerStats:    own,
		admission.ContainerStart:    "Decided: GPUs that were given back are asked for again, limits and mounts renewed, what the engine has stored is checked (below), then started. A body is refused.",
		admission.ContainerStop:     "Of one's own container; `t` is kept within `stop_timeout`. What it holds is in step before the answer.",
		admission.ContainerRestart:  "Decided: a stop and a start, as above.",
		admission.ContainerUpdate:   "Decided: read strictly, reviewed, and sent as a body of ds01's own making (below); the restart policy goes to ds01's own record.",
		admission.ContainerKill:     "Of one's own container. Passes under its full id; goes on when the client hangs up.",
		admission.ContainerWait:     "Of one's own container. Passes; what it held is in step before the answer.",
		admission.ContainerResize:   "Of one's own container. Passes under its full id.",
		admission.ContainerAttach:   "Of one's own container. A stream of its own, spliced after the engine agreed.",
		admission.ContainerRemove:   "Of one's own container. Passes under its full id; what it held is free before the answer.",
		admission.ArchiveStat:       copying + " A path that is refused is said to be a directory, so that clients go on to the request that tells why.",
		admission.ArchiveGet:        copying + " The archive holds the owners as the container knows them.",
		admission.ArchivePut:        copying + " The archive is written anew on its way: gzip and bzip2 are undone by ds01, other compression is refused, as are devices, entries that lie in another volume than the path, names with `..`, and attributes other than `user.*` and `security.capability`.",
		admission.ContainerExport:   own + " What is mounted isn't part of it.",
		admission.ContainerChanges:  "Of one's own container, which stands still meanwhile; the engine is given a snapshot of its files. Passes to the engine under its full id.",
		admission.ContainerRename:   "Decided: the name is the owner's, and conflicts with their own only. The record changes first, the engine follows.",
		admission.ContainerPause:    "Of one's own container. It goes on holding what it holds.",
		admission.ContainerUnpause:  "Of one's own container.",
		admission.ContainerPrune:    "Synthesised: the caller's own containers that don't run and pass the filters `until`, `label`, `label!` are removed one by one, as `DELETE` does; also for administrators only their own.",
		admission.ExecCreate:        "Decided: read strictly; privileged commands and work in `/proc` are refused, `NVIDIA_*` variables dropped. Beside host mounts on an engine that doesn't remap users, or whose file system can't map ids, it runs as the owner.",
		admission.ExecStart:         "Of an exec in one's own container. A stream of its own, spliced after the engine agreed.",
		admission.ExecResize:        "Of an exec in one's own container. Passes.",
		admission.ExecInspect:       "Of an exec in one's own container. Passes.",
		admission.NetworkList:       "Rewritten: one's own networks in one's own names, `bridge` and `none`. Administrators see all.",
		admission.NetworkInspect:    "Rewritten: of one's own network, with one's own containers only.",
		admission.NetworkCreate:     "Decided: a bridge on this host with a subnet from ds01's pool. Other drivers, addresses of the client's choice, and options but the MTU and `enable_icc` are refused.",
		admission.NetworkConnect:    "Decided: one's own container with one's own network, and with its bare name for an alias. Links are to one's own containers. Addresses and driver options are refused.",
		admission.NetworkDisconnect: "Decided: one's own container from one's own network.",
		admission.NetworkPrune:      "Synthesised: one's own networks that no container runs in and that pass the filters `until`, `label`, `label!`, but the default one.",
		admission.NetworkRemove:     "Of one's own network. Passes under its full id.",
		admission.BuildCancel:       "Synthesised: ends the caller's own build of that `buildid`.",
		admission.BuildControl:      "Decided: ds01 speaks BuildKit's control API itself. `Solve` of the Dockerfile's frontend, also where the client tells of it on the bridge as buildx does, is a build as above, with one output, an image or files for the client; `Status` tells of it; `ListWorkers` names platforms; `DiskUsage` and `Prune` speak of nothing. Whatever else is asked for is refused or isn't there: builds that the client has written, other frontends, entitlements, containers, results to look into, histories.",
		admission.BuildSession:      "Synthesised: ds01 keeps the connection for the caller's own builds, and hands on to it what the engine's BuildKit asks for: files, secrets, logins, agents of ssh, and nothing else.",
		admission.VolumeList:        "Rewritten: one's own volumes in one's own names. Administrators see all.",
		admission.VolumeInspect:     "Rewritten: of one's own volume, in one's own names.",
		admission.VolumeCreate:      "Decided: a volume on the engine's own disk. Other drivers and all driver options are refused.",
		admission.VolumePrune:       "Synthesised: one's own volumes that no container has and that pass the filters `label`, `label!`; clients from API 1.42 on mean those without a name unless they say `all`.",
		admission.VolumeRemove:      "Of one's own volume. Passes under the engine's name.",
		admission.DiskUsage:         "Synthesised: one's own containers, volumes and build cache, and the images one may use.",
		admission.ImageBuild:        "Decided. Without `version`, by the classic builder (below). The context goes on while it comes, written anew; the Dockerfile that the engine reads is ds01's, with images by their ids. The image is the caller's, named in their own repository, as are what its stages leave. Steps run in the caller's control group and network. The build ends when the client hangs up, and below `disk.keep_free`. With `version=2`, by BuildKit: ds01 reads the Dockerfile from the client's session, polices every operation that comes of it, and asks the engine's BuildKit for it; see [builds](builds.md). Steps run in the caller's control group; images are found by the caller's names; caches and results of steps are the caller's own. `remote` is `client-session`; options that BuildKit doesn't have, `outputs` and `cachefrom` aside, are refused where they ask for something. Of `outputs`, `local` and `tar` are files that go to the client's session; others are refused. `cachefrom` is said and not read.",
		admission.BuildPrune:        "Synthesised: of the build cache what is one's own alone. Of filters `until` is read; `min-free-space` is refused.",
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
unless it is empty, or a field of the body where a container, network or volume is
created: dockerode writes those into the query too, and they are dropped. Paths are refused when they are encoded, not clean, or not
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
	renderBuild(&b)
	renderInfo(&b)
	return b.Bytes()
}

func renderInfo(b *bytes.Buffer) {
	b.WriteString(`
## What the engine tells of itself

Of the answer to ` + "`GET /info`" + ` people get these fields as they are:
`)
	var passes []string
	for _, f := range admission.InfoFields() {
		if f.How == admission.InfoPasses {
			passes = append(passes, "`"+f.Name+"`")
		}
	}
	slices.Sort(passes)
	b.WriteString(strings.Join(passes, " ") + `.
A field that is neither among them nor here is left out.

| field | how | why |
|---|---|---|
`)
	for _, f := range admission.InfoFields() {
		if f.How != admission.InfoPasses {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Name, f.How, f.Why)
		}
	}
}

func TestEachFieldOfInfoSaysHowAndWhy(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range admission.InfoFields() {
		if seen[f.Name] || f.How == "" || (f.Why == "") != (f.How == admission.InfoPasses) {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
	}
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
