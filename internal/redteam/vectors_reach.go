package redteam

func deviceVectors() []Vector {
	all := tries("device", refused(),
		try{id: "kmsg", says: "the kernel's log", fields: `"Devices":[{"PathOnHost":"/dev/kmsg","PathInContainer":"/dev/ds01x","CgroupPermissions":"r"}]`, topics: on(36)},
		try{id: "all", says: "every device of the host", fields: `"Devices":[{"PathOnHost":"/dev","PathInContainer":"/dev/ds01d","CgroupPermissions":"r"}]`, topics: on(36)},
		try{id: "victim", says: "another's GPU", fields: `"Devices":[{"PathOnHost":"{victimnode}","PathInContainer":"/dev/ds01x","CgroupPermissions":"rw"}]`, topics: on(36)},
		try{id: "rules", says: "a rule for every device", fields: `"DeviceCgroupRules":["c *:* rwm"]`, topics: on(36)},
		try{id: "rules-a", says: "a rule for all", fields: `"DeviceCgroupRules":["a *:* rwm"]`, topics: on(36)},
		try{id: "rules-node", says: "a rule for another's GPU and its node by a mount", fields: `"DeviceCgroupRules":["c 120:* rw"],"Binds":["{victimnode}:/dev/nvidia0"]`, topics: on(36, 42)},
		try{id: "all-gpus", says: "another's GPU by its UUID", fields: `"DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["{victimgpu}"],"Capabilities":[["gpu"]]}]`, topics: on(37)},
		try{id: "by-number", says: "a GPU by its number", fields: `"DeviceRequests":[{"DeviceIDs":["0"],"Capabilities":[["gpu"]]}]`, topics: on(37)},
		try{id: "cdi", says: "all GPUs by CDI", fields: `"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=all"]}]`, topics: on(37)},
		try{id: "cdi-capability", says: "all GPUs by CDI, called a GPU", fields: `"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=all"],"Capabilities":[["gpu"]]}]`, topics: on(37)},
		try{id: "named", says: "another's GPU by ds01's own name for it", fields: `"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["ds01.io/gpu={victimgpu}"]}]`, topics: on(37)},
		try{id: "named-device", says: "another's GPU as a device by ds01's own name", fields: `"Devices":[{"PathOnHost":"ds01.io/gpu={victimgpu}","PathInContainer":"ds01.io/gpu={victimgpu}","CgroupPermissions":"rwm"}]`, topics: on(36, 37)},
		try{id: "named-path", says: "a device's path behind ds01's own name", fields: `"Devices":[{"PathOnHost":"ds01.io/gpu=full/../../..{victimnode}","PathInContainer":"/dev/ds01x","CgroupPermissions":"rw"}]`, topics: on(36)},
		try{id: "named-both", says: "a wish and a device of the host", fields: `"Devices":[{"PathOnHost":"ds01.io/gpu=1"},{"PathOnHost":"/dev/kmsg","PathInContainer":"/dev/ds01x","CgroupPermissions":"r"}]`, topics: on(36)},
		try{id: "named-cdi-both", says: "a wish, and all GPUs by CDI", fields: `"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["ds01.io/gpu=full","nvidia.com/gpu=all"]}]`, topics: on(37)},
		try{id: "many-kinds", says: "a thousand GPUs in parts", fields: `"DeviceRequests":[{"DeviceIDs":["512xany","511xfull"],"Capabilities":[["gpu"]]}]`, topics: on(37), status: append([]int{503, 429}, refused()...)},
		try{id: "count-all", says: "every GPU there is", fields: `"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]`, topics: on(37), status: append([]int{503, 429, 201}, refused()...)},
		try{id: "count-many", says: "a thousand GPUs", fields: `"DeviceRequests":[{"Count":1000,"Capabilities":[["gpu"]]}]`, topics: on(37), status: append([]int{503, 429}, refused()...)},
		try{id: "count-negative", says: "fewer than no GPUs", fields: `"DeviceRequests":[{"Count":-2,"Capabilities":[["gpu"]]}]`, topics: on(37)},
		try{id: "capabilities", says: "a GPU with every capability", fields: `"DeviceRequests":[{"Count":1,"Capabilities":[["gpu","compute","graphics","display","compat32","ngx","video"]]}]`, topics: on(37, 40), status: either()},
		try{id: "options", says: "a GPU with options", fields: `"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]],"Options":{"visible":"all"}}]`, topics: on(37)},
		try{id: "two-requests", says: "two requests for a GPU", fields: `"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]},{"Count":-1,"Capabilities":[["gpu"]]}]`, topics: on(37)},
		try{id: "count-and-ids", says: "a number and another's GPU", fields: `"DeviceRequests":[{"Count":1,"DeviceIDs":["{victimgpu}"],"Capabilities":[["gpu"]]}]`, topics: on(37)},
	)
	variables := tries("variable", either(),
		try{id: "visible", says: "all GPUs by the variable", fields: `"Env":["NVIDIA_VISIBLE_DEVICES=all"]`, topics: on(38), top: true},
		try{id: "visible-victim", says: "another's GPU by the variable", fields: `"Env":["NVIDIA_VISIBLE_DEVICES={victimgpu}","CUDA_VISIBLE_DEVICES=0"]`, topics: on(38), top: true},
		try{id: "visible-twice", says: "the variable twice", fields: `"Env":["NVIDIA_VISIBLE_DEVICES=void","NVIDIA_VISIBLE_DEVICES=all"]`, topics: on(38), top: true},
		try{id: "visible-no-value", says: "the variable without a value", fields: `"Env":["NVIDIA_VISIBLE_DEVICES"]`, topics: on(38), top: true},
		try{id: "visible-line", says: "the variable behind a line break", fields: `"Env":["A=b\nNVIDIA_VISIBLE_DEVICES=all"]`, topics: on(38), top: true},
		try{id: "visible-equals", says: "the variable behind an equals sign", fields: `"Env":["=NVIDIA_VISIBLE_DEVICES=all"]`, topics: on(38), top: true},
		try{id: "mig-config", says: "the right to set MIG up", fields: `"Env":["NVIDIA_MIG_CONFIG_DEVICES=all","NVIDIA_MIG_MONITOR_DEVICES=all","NVIDIA_IMEX_CHANNELS=0"]`, topics: on(40), top: true},
		try{id: "capabilities", says: "all capabilities of the driver", fields: `"Env":["NVIDIA_DRIVER_CAPABILITIES=all","NVIDIA_DISABLE_REQUIRE=1","NVIDIA_CTK_DEBUG=true"]`, topics: on(40), top: true},
		try{id: "preload", says: "a library loaded into the hook", fields: `"Env":["LD_PRELOAD=/proc/self/cwd/evil.so","LD_LIBRARY_PATH=/evil"]`, topics: on(41), top: true},
		try{id: "preload-gpu", says: "a library loaded into the hook, with a GPU", fields: `"Env":["LD_PRELOAD=./evil.so"],"HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}`, topics: on(41), top: true},
	)
	targets := tries("gpu-mount", refused(),
		try{id: "all", says: "all GPUs by a mount", fields: `"Binds":["/dev/null:/var/run/nvidia-container-devices/all"]`, topics: on(39)},
		try{id: "cdi", says: "all GPUs by a mount for CDI", fields: `"Binds":["{work}:/var/run/nvidia-container-devices/cdi/nvidia.com/gpu/all"]`, topics: on(39)},
		try{id: "run", says: "all GPUs by a mount below /run", fields: `"Mounts":[{"Type":"bind","Source":"{work}","Target":"/run/nvidia-container-devices/all"}]`, topics: on(39)},
		try{id: "climb", says: "all GPUs by a mount whose target climbs", fields: `"Binds":["{work}:/tmp/../var/run/nvidia-container-devices/all"]`, topics: on(39)},
		try{id: "tmpfs", says: "all GPUs by a memory mount", fields: `"Tmpfs":{"/var/run/nvidia-container-devices/all":""}`, topics: on(39)},
		try{id: "volume", says: "all GPUs by an anonymous volume", fields: `"Volumes":{"/var/run/nvidia-container-devices/all":{}}`, topics: on(39, 48), top: true},
	)
	return append(append(all, variables...), targets...)
}

func mountVectors() []Vector {
	bind := func(id, says, source string) try {
		return try{id: id, says: says, fields: `"Binds":["` + source + `:/h"]`, topics: on(42)}
	}
	door := func(id, says, source string) try {
		t := bind(id, says, source)
		t.status = either()
		return t
	}
	mount := func(id, says, fields string, status []int, topics ...int) try {
		return try{id: id, says: says, fields: `"Mounts":[{` + fields + `,"Target":"/h"}]`, topics: topics, status: status}
	}
	sources := tries("bind", refused(),
		bind("root", "the host's root", "/"),
		bind("root-dot", "the host's root by a dot", "/."),
		bind("root-climb", "the host's root by climbing from one's own folder", "{work}/../../../../../../.."),
		bind("canary", "a folder of root's", "{canary}"),
		bind("canary-file", "a file of root's", "{canary}/secret"),
		bind("canary-double-slash", "a folder of root's with doubled slashes", "//{canary}//"),
		bind("canary-link", "a folder of root's through one's own link", "{work}/link"),
		bind("canary-link-file", "a file of root's through one's own link", "{work}/link/secret"),
		bind("root-link", "the host's root through one's own link", "{work}/rootlink"),
		bind("proc-root", "the host's root through a process", "/proc/1/root"),
		bind("proc-self", "the host's root through the engine's process", "/proc/self/root"),
		bind("proc-cwd", "a folder through a process", "/proc/self/cwd"),
		bind("etc", "the host's configuration", "/etc"),
		bind("sys", "the kernel's settings", "/sys"),
		bind("cgroups", "the groups", "/sys/fs/cgroup"),
		bind("dev", "the devices", "/dev"),
		bind("tmp", "everybody's temporary files", "/tmp"),
		bind("engine", "the engine's socket", "{engine}"),
		door("gateway", "the gateway's socket, for which a container gets its own", "{gateway}"),
		bind("gateway-proc", "the gateway's socket through a process", "/proc/self/root{gateway}"),
		bind("gateway-folder", "the folder of the gateway's socket", "{gateway}/.."),
		bind("doors", "the folder of containers' own sockets", "{engine}/../doors"),
		bind("run", "the folder of sockets", "/run"),
		bind("containerd", "containerd's socket", "/run/containerd/containerd.sock"),
		door("var-run", "the gateway's socket as clients name it", "/var/run/docker.sock"),
		bind("nodes", "the folder of the GPUs' nodes", "{victimnode}"),
		bind("victim-home", "another's home", "{victimhome}"),
		bind("victim-file", "another's file", "{victimhome}/secret"),
		bind("home-parent", "the folder of homes", "{home}/.."),
		bind("missing", "a folder that isn't there", "{canary}/made"),
		bind("docker-data", "the engine's data", "/var/lib/docker"),
	)
	mounts := tries("mount", refused(),
		mount("create-mountpoint", "a folder made by root", `"Type":"bind","Source":"{canary}/made","BindOptions":{"CreateMountpoint":true}`, nil, 44),
		mount("create-mountpoint-own", "a folder made by root in one's own", `"Type":"bind","Source":"{work}/made","BindOptions":{"CreateMountpoint":true}`, nil, 44),
		mount("shared", "mounts that travel to the host", `"Type":"bind","Source":"{work}","BindOptions":{"Propagation":"rshared"}`, nil, 44),
		mount("slave", "mounts that travel from the host", `"Type":"bind","Source":"{work}","BindOptions":{"Propagation":"rslave"}`, nil, 44),
		mount("non-recursive", "one's own folder, not what lies below", `"Type":"bind","Source":"{work}","BindOptions":{"NonRecursive":true}`, either(), 44),
		mount("npipe", "a pipe of another system", `"Type":"npipe","Source":"\\\\.\\pipe\\docker_engine"`, nil, 45),
		mount("cluster", "a volume of a cluster", `"Type":"cluster","Source":"x"`, nil, 45),
		mount("image", "an image as a mount", `"Type":"image","Source":"{image}"`, either(), 45),
		mount("type-case", "a bind in capitals", `"Type":"BIND","Source":"/"`, nil, 45),
		mount("type-none", "a mount without a type", `"Source":"/"`, nil, 45),
		mount("bind-volume-options", "a bind with a volume's options", `"Type":"bind","Source":"/","VolumeOptions":{"DriverConfig":{"Name":"local"}}`, nil, 45),
		mount("volume-as-path", "the host's root as a volume's name", `"Type":"volume","Source":"/"`, nil, 45, 49),
		mount("volume-climb", "a volume's name that climbs", `"Type":"volume","Source":"../../../../.."`, nil, 45, 49),
		mount("tmpfs-options", "a memory mount with options", `"Type":"tmpfs","TmpfsOptions":{"SizeBytes":1099511627776,"Options":[["dev"],["suid"]]}`, either(), 54),
		try{id: "bind-options", says: "options behind a bind", fields: `"Binds":["{work}:/h:rw,shared"]`, topics: on(44)},
		try{id: "bind-relabel", says: "the host's root relabelled", fields: `"Binds":["/:/h:Z"]`, topics: on(44, 42)},
		try{id: "bind-colons", says: "a bind of four parts", fields: `"Binds":["{work}:/h:ro:/"]`, topics: on(44)},
		try{id: "bind-newline", says: "a bind with a line break", fields: `"Binds":["{work}\n/:/h"]`, topics: on(42)},
		try{id: "target-root", says: "one's own folder over the container's root", fields: `"Binds":["{work}:/"]`, topics: on(42)},
		try{id: "target-proc", says: "one's own folder over /proc", fields: `"Binds":["{work}:/proc"]`, topics: on(42)},
		try{id: "target-proc-climb", says: "one's own folder over /proc by climbing", fields: `"Binds":["{work}:/a/../proc/sys"]`, topics: on(42)},
		try{id: "target-dev", says: "one's own folder over /dev", fields: `"Binds":["{work}:/dev/shm/../"]`, topics: on(42)},
	)
	own := hosted(`"Binds":["{work}:/w"]`)
	remote := func(folder string) string { // body has labels already
		return `{"Image":"{image}","Cmd":["sh","-c","{payload}"],"Labels":{"{mark}":"1","devcontainer.metadata":"[{\"remoteUser\":\"{victimuid}\"}]"},"HostConfig":{"Binds":["` + folder + `:/w"]}}`
	}
	return append(append(sources, mounts...),
		one("bind-own-root", "setuid files of root's in one's own folder", create(own, either()), 42),
		one("bind-own-as-root", "one's own folder as root", create(body(`"User":"0:0"`, `"HostConfig":{"Binds":["{work}:/w"]}`), either()), 42, 60),
		one("bind-own-as-victim", "one's own folder as another", create(body(`"User":"{victimuid}"`, `"HostConfig":{"Binds":["{work}:/w"]}`), either()), 42, 60),
		one("bind-own-remote-victim", "one's own folder for a Dev Container's user with another's number", create(remote("{work}"), either()), 42, 60),
		one("bind-victims-remote-victim", "another's folder for a Dev Container's user with their number", create(remote("{victimhome}"), refused()), 42, 60),
		one("bind-victim-via-own", "another's file linked into one's own folder", create(hosted(`"Binds":["{work}/victimlink:/h"]`), refused()), 42, 43),
		several("bind-swapped", "a folder that becomes a link once it is accepted", []Step{
			{Method: "POST", Path: "/containers/create?name={mark}-x", Body: hosted(`"Binds":["{work}/swap:/h"]`), Status: either(), Save: true},
			{Swap: true},
			{Method: "POST", Path: "/containers/{made}/start", Status: either(), Run: true},
		}, 43),
	)
}

func volumeVectors() []Vector {
	driver := func(id, says, options string) try {
		return try{id: id, says: says, topics: on(46), fields: `"Mounts":[{"Type":"volume","Source":"{mark}-v","Target":"/h","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{` + options + `}}}}]`}
	}
	all := tries("volume", refused(),
		driver("bind", "a volume that is the host's root", `"type":"none","o":"bind","device":"/"`),
		driver("rbind", "a volume that is all of the host's root", `"type":"none","o":"rbind","device":"/"`),
		driver("overlay", "a volume laid over the host's root", `"type":"overlay","o":"lowerdir=/,upperdir={work},workdir={work}","device":"overlay"`),
		driver("nfs", "a volume of another host", `"type":"nfs","o":"addr=127.0.0.1","device":":/"`),
		driver("cifs", "a share of another host", `"type":"cifs","o":"username=x","device":"//127.0.0.1/x"`),
		driver("disk", "a volume that is a disk", `"type":"ext4","device":"/dev/sda1"`),
		driver("proc", "a volume that shows processes", `"type":"proc","device":"proc"`),
		try{id: "subpath", says: "a part of a volume that climbs", topics: on(47), fields: `"Mounts":[{"Type":"volume","Source":"{mark}-v","Target":"/h","VolumeOptions":{"Subpath":"../../../.."}}]`},
		try{id: "driver", says: "another driver of volumes", topics: on(46, 47), fields: `"VolumeDriver":"{mark}","Binds":["{mark}-v:/h"]`},
		try{id: "victim", says: "another's volume", topics: on(49), fields: `"Binds":["{victimvolume}:/h"]`, status: either()},
		try{id: "from-victim", says: "the volumes of another's container", topics: on(49), fields: `"VolumesFrom":["{victim}"]`, status: []int{400, 403, 404}},
		try{id: "from-victim-rw", says: "the volumes of another's container, by name", topics: on(49), fields: `"VolumesFrom":["{victimengine}:rw"]`, status: []int{400, 403, 404}},
		try{id: "anonymous", says: "an anonymous volume", topics: on(48), fields: `"Volumes":{"/h":{}}`, top: true, status: either()},
		try{id: "anonymous-proc", says: "an anonymous volume over /proc", topics: on(48), fields: `"Volumes":{"/proc":{}}`, top: true},
		try{id: "anonymous-bind", says: "an anonymous volume that is a bind", topics: on(48, 42), fields: `"Volumes":{"/:/h":{}}`, top: true, status: either()},
	)
	premade := func(id, says, options string, topics ...int) Vector {
		return several("volume-made-"+id, says, []Step{
			post("/volumes/create", `{"Name":"{mark}-p","Driver":"local","DriverOpts":{`+options+`}}`, refused()),
			create(hosted(`"Binds":["{mark}-p:/h"]`), either()),
		}, append(topics, 47)...)
	}
	return append(all,
		premade("bind", "a volume made beforehand that is the host's root", `"type":"none","o":"bind","device":"/"`, 46),
		premade("canary", "a volume made beforehand that is a folder of root's", `"type":"none","o":"bind,ro","device":"{canary}"`, 46),
		premade("overlay", "a volume made beforehand over the host's root", `"type":"overlay","o":"lowerdir=/","device":"overlay"`, 46),
		premade("own", "a volume made beforehand that is one's own folder", `"type":"none","o":"bind","device":"{work}"`, 46),
		one("volume-made-driver", "a volume of another driver", post("/volumes/create", `{"Name":"{mark}-p","Driver":"{mark}driver"}`, append([]int{500}, refused()...)), 46, 47),
		one("volume-made-cluster", "a volume of a cluster", post("/volumes/create", `{"Name":"{mark}-p","ClusterVolumeSpec":{"AccessMode":{}}}`, refused()), 47),
		one("volume-made-label", "a volume labelled as another's", post("/volumes/create", `{"Name":"{mark}-p","Labels":{"aime.mlc.DS01_UID":"{victimuid}"}}`, refused()), 47, 61),
		one("volume-made-name", "a volume by another's name", post("/volumes/create", `{"Name":"{victimvolume}"}`, either()), 62, 81),
		one("volume-list", "the list of everybody's volumes", get("/volumes", either()), 81),
		one("volume-list-filter", "everybody's volumes by a filter", get("/volumes?filters=%7B%22name%22%3A%5B%22%22%5D%7D", either()), 81),
		one("volume-look", "a look at another's volume", get("/volumes/{victimvolume}", foreign()), 81),
		one("volume-delete", "another's volume removed", remove("/volumes/{victimvolume}?force=1", either()), 81, 76),
		one("volume-update", "another's volume changed", Step{Method: "PUT", Path: "/volumes/{victimvolume}?version=1", Body: `{"Spec":{}}`, Status: either()}, 81),
	)
}

func identityVectors() []Vector {
	return append(tries("identity", either(),
		try{id: "user-root", says: "root in the container", fields: `"User":"root"`, topics: on(60), top: true},
		try{id: "user-victim", says: "another's number in the container", fields: `"User":"{victimuid}:{victimuid}"`, topics: on(60), top: true},
		try{id: "user-huge", says: "a number beyond all users", fields: `"User":"4294967295"`, topics: on(60), top: true},
		try{id: "user-negative", says: "a number below all users", fields: `"User":"-1"`, topics: on(60), top: true},
		try{id: "user-range", says: "a number outside the container's range", fields: `"User":"2147483648"`, topics: on(60), top: true},
		try{id: "groups", says: "the groups of disks and passwords", fields: `"GroupAdd":["0","6","42","disk","shadow","docker"]`, topics: on(60)},
		try{id: "label-owner", says: "a label of ownership", fields: `"Labels":{"{mark}":"1","aime.mlc.DS01_UID":"{victimuid}"}`, topics: on(61), top: true, status: refused()},
		try{id: "label-claim", says: "a label that names another's claim", fields: `"Labels":{"{mark}":"1","aime.mlc.DS01_CLAIM":"{victimclaim}"}`, topics: on(61), top: true, status: refused()},
		try{id: "label-protected", says: "a label that protects from the lifecycle", fields: `"Labels":{"{mark}":"1","aime.mlc.DS01_PROTECTED":"true"}`, topics: on(61), top: true, status: refused()},
		try{id: "label-old", says: "a label of the old namespace", fields: `"Labels":{"{mark}":"1","ds01.user":"{victimlogin}"}`, topics: on(61), top: true, status: refused()},
		try{id: "label-compose", says: "labels of compose", fields: `"Labels":{"{mark}":"1","com.docker.compose.project":"{victimname}"}`, topics: on(61), top: true},
		try{id: "label-newline", says: "a label with a line break", fields: `"Labels":{"{mark}":"1","a\naime.mlc.DS01_UID":"0"}`, topics: on(61), top: true},
	),
		one("name-engine", "a container under another's name at the engine", Step{Method: "POST", Path: "/containers/create?name={victimengine}", Body: body(), Status: refused(), Run: true}, 62),
		one("name-id", "a container called as another's id", Step{Method: "POST", Path: "/containers/create?name={victim}", Body: body(), Status: either(), Run: true}, 62, 87),
		one("name-short", "a container called as another's short id", Step{Method: "POST", Path: "/containers/create?name={victimshort}", Body: body(), Status: either(), Run: true}, 62, 87),
		several("name-id-look", "a look at another's id through a container called so", []Step{
			{Method: "POST", Path: "/containers/create?name={victimshort}", Body: body(), Status: either(), Save: true},
			get("/containers/{victimshort}/json", []int{200, 404, 409}),
			get("/containers/{victimshort}/logs?stdout=1", []int{200, 404, 409}),
			remove("/containers/{victimshort}?force=1", []int{204, 404, 409}),
		}, 87, 88),
		one("name-climb", "a name that climbs", Step{Method: "POST", Path: "/containers/create?name=../{mark}", Body: body(), Status: refused()}, 62),
		one("name-same", "another's own name", Step{Method: "POST", Path: "/containers/create?name={victimname}", Body: body(), Status: []int{201, 409, 400}, Run: true}, 62),
		one("name-rename", "one's own container renamed to another's", post("/containers/{own}/rename?name={victimengine}", "", either()), 62),
		one("name-rename-victim", "another's container renamed", post("/containers/{victim}/rename?name={mark}-taken", "", foreign()), 62),
		several("name-race", "another's name asked for many times at once", []Step{
			{Method: "GET", Path: "/containers/{victimname}/json", Status: gone(), Times: 8},
			{Method: "DELETE", Path: "/containers/{victimname}?force=1", Status: gone(), Times: 8},
		}, 88),
	)
}
