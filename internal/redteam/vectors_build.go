package redteam

import "slices"

// kitVectors are builds by BuildKit, as stock clients send them.
func kitVectors() []Vector {
	refusal := []int{403}
	kit := func(id, says string, status []int, r Recipe, topics ...int) Vector {
		return built("kit-"+id, says, "ds01: ", status, r, append(topics, 79)...)
	}
	// anyhow is for what may be built, as long as nothing comes of it.
	anyhow := []int{200, 403}
	on := func(lines string) Recipe { return Recipe{Dockerfile: "FROM {image}\n" + lines + "\n"} }
	words := func(words ...string) Recipe { return Recipe{Dockerfile: "FROM {image}\nRUN true\n", Words: words} }
	return []Vector{
		kit("plain", "a build by BuildKit that looks around", []int{200}, Recipe{Dockerfile: "{kitrecipe}"}),
		kit("network", "a step in the host's network", refusal, on("RUN --network=host true")),
		kit("insecure", "a step with every privilege", anyhow, Recipe{Dockerfile: "# syntax=docker/dockerfile:1-labs\nFROM {image}\nRUN --security=insecure mknod /k c 1 11 && : < /k && echo REACH\"\"ED-{mark} a device\n"}),
		kit("cgroup", "a group of one's choice", refusal, words("--cgroup-parent", "/")),
		kit("from-victim", "a build by BuildKit on another's image", refusal, Recipe{Dockerfile: "FROM {victimimage}\nRUN cat /secret\n"}, 66),
		kit("copy-victim", "files of another's image in a build by BuildKit", refusal, on("COPY --from={victimimage} /secret /\nRUN cat /secret"), 66),
		kit("mount-victim", "another's image mounted in a step", refusal, on("RUN --mount=from={victimimage},target=/x cat /x/secret"), 66),
		kit("syntax-victim", "another's image as the frontend", refusal, Recipe{Dockerfile: "# syntax={victimimage}\nFROM {image}\n"}, 66),
		kit("cache-victim", "another's image as a cache", anyhow, words("--cache-from", "{victimimage}"), 66),
		kit("cache-mount", "another's cache by its name", anyhow, on("RUN "+cacheMount+" cat /cache/secret")),
		kit("cache-mount-engine", "another's cache by the engine's name for it", anyhow, on("RUN --mount=type=cache,id={victimcache},target=/cache cat /cache/secret")),
		kit("cache-mount-climb", "another's cache by a name that climbs", anyhow, on("RUN --mount=type=cache,id=../{victimcache},target=/cache cat /cache/secret")),
		several("kit-cache-poison", "another's cache filled with what one likes", []Step{
			{Build: new(on("RUN " + cacheMount + " echo REACH\"\"ED-{mark} the cache of another > /cache/more")), Status: anyhow},
			{Build: new(on("RUN --mount=type=cache,id={victimcache},target=/cache echo REACH\"\"ED-{mark} the cache of another > /cache/more")), Status: anyhow},
			{Build: &Recipe{Dockerfile: "FROM {image}\nRUN " + cacheMount + " cat /cache/more || true\n", Victim: true}, Status: []int{200}},
		}, 79),
		kit("step-secret", "the result of another's step, which had a secret", anyhow, Recipe{Dockerfile: heldStep + "RUN cat /key\n"}),
		kit("shared", "a build by BuildKit under a name that is everybody's", anyhow, words("-t", "{shared}"), 75),
		kit("victim-name", "a build by BuildKit under another's name", anyhow, words("-t", "{victimimage}"), 75),
		kit("victim-mark", "a build by BuildKit under a mark of another's", anyhow, words("-t", "ds01-{victimuid}/ds01-nameless:0-0"), 75),
		kit("add", "a step that fetches from a port of the host", refusal, on("ADD http://{trap}/x /x"), 77),
		kit("add-variable", "a step that fetches from a port of the host, by a variable", refusal, on("ARG u=http://{trap}/x\nADD $u /x"), 77),
		kit("add-git", "a step that clones from a port of the host", refusal, on("ADD http://{trap}/x.git#main /x"), 77),
		kit("add-git-scheme", "a step that clones by git's own scheme", anyhow, on("ADD git://{trap}/x.git /x"), 77),
		kit("syntax-trap", "a frontend from a port of the host", refusal, Recipe{Dockerfile: "# syntax={trap}/evil/frontend\nFROM {image}\n"}, 77),
		kit("syntax-argument", "a frontend from a port of the host, by an argument", anyhow, words("--build-arg", "BUILDKIT_SYNTAX={trap}/evil/frontend"), 77),
		kit("syntax-alike", "a frontend whose name begins as Docker's", refusal, Recipe{Dockerfile: "# syntax={trap}/docker/dockerfile:1\nFROM {image}\n"}, 77),
		kit("outside", "files from outside of the folder", anyhow, on("COPY ../../../../../..{canary}/secret /\nRUN cat /secret")),
		kit("cache-trap", "a cache from a port of the host", anyhow, words("--cache-from", "{trap}/evil/x"), 77),
	}
}

// built is a build by BuildKit. Where nothing but a refusal may come of it, the
// refusal says message.
func built(id, says, message string, status []int, r Recipe, topics ...int) Vector {
	step := Step{Build: &r, Status: status}
	if !slices.Contains(status, 200) {
		step.Message = message
	}
	return one(id, says, step, topics...)
}

// unlistedVectors reach for images of a registry that the site's rules don't
// list, by every road that leads to one.
func unlistedVectors() []Vector {
	const x = "{unlisted}/evil/x"
	classic := func(id, says, archive string) Vector {
		return one("unlisted-"+id, says, Step{
			Method: "POST", Path: "/build?t={mark}-b", Headers: []string{"Content-Type: application/x-tar"}, Body: archive,
			Status: []int{403}, Message: "site policy", Stays: true,
		}, 78, 91)
	}
	kit := func(id, says string, status []int, r Recipe) Vector {
		return built("unlisted-kit-"+id, says, "site policy", status, r, 79, 91)
	}
	refusal, anyhow := []int{403}, []int{200, 403}
	from := func(lines string) Recipe { return Recipe{Dockerfile: lines + "\n"} }
	by := func(words ...string) Recipe {
		return Recipe{Dockerfile: "FROM {image} AS base\nFROM base\nRUN true\n", Words: words, Buildx: true}
	}
	return []Vector{
		one("unlisted-pull", "a pull", post("/images/create?fromImage="+x+"&tag=y", "", refused()), 77, 91),
		one("unlisted-pull-all", "a pull of all tags", post("/images/create?fromImage="+x, "", refused()), 77, 91),
		one("unlisted-create", "a container", create(`{"Image":"`+x+`","Cmd":["true"],"Labels":{"{mark}":"1"}}`, append(refused(), 404)), 66, 91),
		classic("from", "a build on it", "{unlistedfrom}"),
		classic("from-variable", "a build on it, by a variable", "{unlistedfromvar}"),
		classic("from-stage", "a build on it under the name of a listed image", "{unlistedstage}"),
		classic("copy", "files of it in a build", "{unlistedcopy}"),
		kit("from", "a build by BuildKit on it", refusal, from("FROM "+x)),
		kit("from-variable", "a build by BuildKit on it, by a variable", refusal, Recipe{Dockerfile: "ARG of\nFROM ${of:-{image}}\n", Words: []string{"--build-arg", "of=" + x}}),
		kit("from-stage", "a build by BuildKit on it under the name of a listed image", refusal, from("FROM "+x+" AS busybox\nFROM busybox")),
		kit("copy", "files of it in a build by BuildKit", refusal, from("FROM {image}\nCOPY --from="+x+" / /x")),
		kit("mount", "a step that mounts it", refusal, from("FROM {image}\nRUN --mount=from="+x+",target=/x true")),
		kit("syntax", "it as the frontend", anyhow, from("# syntax="+x+"\nFROM {image}")),
		kit("files", "files come of a build by BuildKit on it", refusal, Recipe{Dockerfile: "FROM " + x + "\n", Words: []string{"-o", "out"}}),
		several("unlisted-kit-trigger", "a build by BuildKit on one's own image that copies from it", []Step{
			{Build: &Recipe{Dockerfile: "FROM {image}\nONBUILD COPY --from=" + x + " / /x\n", Words: []string{"-t", "{mark}-t"}}, Status: anyhow},
			{Build: &Recipe{Dockerfile: "FROM {mark}-t\n"}, Status: refusal, Message: "site policy"},
		}, 79, 91),
		kit("context", "it in the place of a listed image, by --build-context", refusal, by("--build-context", "{image}=docker-image://"+x)),
		kit("context-stage", "it in the place of a stage, by --build-context", refusal, by("--build-context", "base=docker-image://"+x)),
		kit("context-url", "a repository in the place of a stage, by --build-context", anyhow, by("--build-context", "base=http://{unlisted}/x.git")),
		kit("cache-registry", "a cache from it", anyhow, by("--cache-from", "type=registry,ref="+x)),
		kit("cache-to", "a cache pushed to it", anyhow, by("--cache-to", "type=registry,ref="+x)),
		kit("output-push", "the image pushed to it", anyhow, by("-o", "type=image,push=true,name="+x)),
		kit("bake", "buildx bakes on it", refusal, Recipe{Buildx: true, Bake: "target \"default\" {\n  dockerfile-inline = \"FROM " + x + "\"\n}\n"}),
		kit("bake-context", "buildx bakes with it in the place of a stage", refusal, Recipe{
			Buildx: true, Bake: "target \"default\" {\n  dockerfile-inline = \"FROM {image} AS base\\nFROM base\\nRUN true\"\n  contexts = { base = \"docker-image://" + x + "\" }\n}\n",
		}),
		kit("bake-remote", "buildx bakes a repository at it", anyhow, Recipe{Buildx: true, Bake: "target \"default\" {\n  context = \"http://{unlisted}/x.git\"\n}\n"}),
	}
}
