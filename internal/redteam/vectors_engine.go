package redteam

import "fmt"

// othersNetwork is kept for documentation: no host has it, so that a network
// of its addresses cuts nobody off.
const othersNetwork = "203.0.113.0/24"

func networkVectors() []Vector {
	made := func(id, says, fields string, topics ...int) Vector {
		return one("network-make-"+id, says, post("/networks/create", `{"Name":"{mark}-n",`+fields+`}`, append([]int{500}, either()...)), append(topics, 80)...)
	}
	return []Vector{
		made("macvlan", "a network on the host's card", `"Driver":"macvlan","Options":{"parent":"lo"}`),
		made("ipvlan", "a network on the host's card by address", `"Driver":"ipvlan","Options":{"parent":"lo"}`),
		made("host", "a second network of the host", `"Driver":"host"`, 31),
		made("overlay", "a network over many hosts", `"Driver":"overlay","Attachable":true`),
		made("plugin", "a network of an unknown driver", `"Driver":"{mark}"`, 82),
		made("bridge-name", "the bridge of another network", `"Driver":"bridge","Options":{"com.docker.network.bridge.name":"docker0"}`),
		made("bridge-host", "a bridge that the host's card joins", `"Driver":"bridge","Options":{"com.docker.network.bridge.host_binding_ipv4":"0.0.0.0","com.docker.network.container_iface_prefix":"eth"}`),
		made("subnet", "a network with addresses of others", `"Driver":"bridge","Internal":true,"IPAM":{"Config":[{"Subnet":"`+othersNetwork+`"}]}`),
		made("ipam-driver", "addresses by another driver", `"Driver":"bridge","IPAM":{"Driver":"{mark}"}`),
		made("config-from", "a network from another's", `"ConfigFrom":{"Network":"{victimnetwork}"}`),
		made("scope", "a network of a swarm", `"Scope":"swarm","Ingress":true`, 83),
		made("label", "a network labelled as another's", `"Labels":{"aime.mlc.DS01_UID":"{victimuid}"}`, 61),
		made("case", "a driver in another case", `"driver":"host","Driver":"bridge"`, 1, 2),
		one("network-list", "the list of everybody's networks", get("/networks", either()), 80, 84),
		one("network-look", "a look at another's network", get("/networks/{victimnetwork}?verbose=1", foreign()), 80, 84),
		one("network-look-host", "a look at the host's network", get("/networks/host", either()), 80, 84),
		one("network-connect", "one's own container on another's network", post("/networks/{victimnetwork}/connect", `{"Container":"{own}"}`, foreign()), 80),
		one("network-connect-victim", "another's container on one's own network", post("/networks/bridge/connect", `{"Container":"{victim}"}`, append([]int{400}, foreign()...)), 80),
		one("network-connect-host", "one's own container on the host's network", post("/networks/host/connect", `{"Container":"{own}"}`, append([]int{500}, either()...)), 31, 80),
		one("network-disconnect", "another's container cut off", post("/networks/{victimnetwork}/disconnect", `{"Container":"{victim}","Force":true}`, foreign()), 80),
		one("network-disconnect-bridge", "another's container cut off from the common network", post("/networks/bridge/disconnect", `{"Container":"{victim}","Force":true}`, append([]int{400}, foreign()...)), 80),
		one("network-delete", "another's network deleted", remove("/networks/{victimnetwork}", foreign()), 76, 80),
	}
}

func clusterVectors() []Vector {
	var all []Vector
	for i, path := range []string{
		"/plugins", "/plugins/privileges?remote={mark}.invalid/x", "/plugins/{mark}/json", "/swarm", "/swarm/unlockkey", "/services", "/services/x",
		"/nodes", "/nodes/self", "/tasks", "/tasks/x", "/secrets", "/secrets/x", "/configs", "/configs/x", "/services/x/logs?stdout=1", "/tasks/x/logs?stdout=1",
	} {
		topic := 83
		if i < 3 {
			topic = 82
		}
		all = append(all, one(fmt.Sprintf("cluster-look-%02d", i), "a look at "+path, get(path, append([]int{200}, refused()...)), topic))
	}
	all = append(all,
		one("plugin-create", "a plugin made of a folder", Step{Method: "POST", Path: "/plugins/create?name={mark}", Body: "{tarclimb}", Headers: []string{"Content-Type: application/x-tar"}, Status: refused()}, 82),
		one("plugin-pull", "a plugin from a registry that isn't there", post("/plugins/pull?remote={mark}.invalid/x&name={mark}", `[{"Name":"network","Value":["host"]}]`, refused()), 82),
		one("plugin-enable", "a plugin enabled", post("/plugins/{mark}/enable?timeout=0", "", refused()), 82),
		one("plugin-disable", "a plugin disabled", post("/plugins/{mark}/disable?force=1", "", refused()), 82),
		one("plugin-set", "a plugin's settings", post("/plugins/{mark}/set", `["DEBUG=1"]`, refused()), 82),
		one("plugin-delete", "a plugin removed", remove("/plugins/{mark}?force=1", refused()), 82),
		one("swarm-service", "a service with the host's root", post("/services/create", `{"Name":"{mark}","TaskTemplate":{"ContainerSpec":{"Image":"{image}","Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]}}}`, refused()), 83),
		one("swarm-secret", "a secret", post("/secrets/create", `{"Name":"{mark}","Data":"eA=="}`, refused()), 83),
		one("swarm-config", "a configuration", post("/configs/create", `{"Name":"{mark}","Data":"eA=="}`, refused()), 83),
		one("swarm-join", "a swarm that isn't there", post("/swarm/join", `{"RemoteAddrs":[],"JoinToken":"x"}`, refused()), 83),
		one("swarm-node", "a node changed", post("/nodes/{mark}/update?version=1", `{"Role":"manager"}`, refused()), 83),
	)
	return append(all, inLab("a broken gateway would make the host part of a swarm, or take it out of one",
		one("swarm-init", "a swarm begun", post("/swarm/init", `{"ListenAddr":"127.0.0.1:0","AdvertiseAddr":"127.0.0.1"}`, refused()), 83),
		one("swarm-leave", "a swarm left", post("/swarm/leave?force=1", "", refused()), 83),
		one("swarm-update", "a swarm's settings", post("/swarm/update?version=1&rotateManagerToken=1", `{}`, refused()), 83),
		one("swarm-unlock", "a swarm unlocked", post("/swarm/unlock", `{"UnlockKey":"x"}`, refused()), 83),
	)...)
}

func viewVectors() []Vector {
	lists := []int{200, 400, 403, 404, 500} // 500 is the engine's own word about an odd time
	list := func(id, says, filters string, topics ...int) Vector {
		return one("list-"+id, says, get("/containers/json?all=1&filters="+filters, lists), append(topics, 84)...)
	}
	events := func(id, says, query string) Vector {
		return one("events-"+id, says, get("/events?"+query+"&until={now}", lists), 84)
	}
	return []Vector{
		one("list-all", "the list of containers", get("/containers/json?all=1", []int{200}), 84),
		one("list-limit", "the last thousand containers", get("/containers/json?limit=1000", []int{200}), 84),
		one("list-limit-negative", "fewer than no containers", get("/containers/json?all=1&limit=-1", lists), 84),
		one("list-old-keys", "containers since another's, the old way", get("/containers/json?all=1&since={victim}&before={victim}", lists), 84),
		list("id", "another's container by a filter of ids", `%7B%22id%22%3A%5B%22{victim}%22%5D%7D`),
		list("id-set", "another's container by a set of ids", `%7B%22id%22%3A%7B%22{victim}%22%3Atrue%7D%7D`),
		list("id-false", "another's container by a set that says no", `%7B%22id%22%3A%7B%22{victim}%22%3Afalse%7D%7D`),
		list("id-twice", "filters of ids twice", `%7B%22id%22%3A%5B%22{own}%22%5D%2C%22id%22%3A%5B%22{victim}%22%5D%7D`, 2),
		list("id-case", "a filter of ids in capitals", `%7B%22ID%22%3A%5B%22{victim}%22%5D%7D`, 1),
		list("id-empty", "the empty beginning of ids", `%7B%22id%22%3A%5B%22%22%5D%7D`, 87),
		list("id-pattern", "a pattern for ids", `%7B%22id%22%3A%5B%22%5E.%2A%22%5D%7D`),
		list("name", "another's container by its name", `%7B%22name%22%3A%5B%22{victimname}%22%5D%7D`),
		list("name-pattern", "a pattern for names", `%7B%22name%22%3A%5B%22.%2A%22%5D%7D`),
		list("name-slow", "a pattern that takes for ever", `%7B%22name%22%3A%5B%22%28a%2B%29%2B%24%22%5D%7D`, 90),
		list("label", "everything with a label", `%7B%22label%22%3A%5B%22{victimmark}%22%5D%7D`),
		list("label-owner", "everything with the label of ownership", `%7B%22label%22%3A%5B%22aime.mlc.DS01_UID%3D{victimuid}%22%5D%7D`, 61),
		list("ancestor", "everything of an image", `%7B%22ancestor%22%3A%5B%22{image}%22%5D%7D`),
		list("network", "everything on another's network", `%7B%22network%22%3A%5B%22{victimnetwork}%22%5D%7D`),
		list("volume", "everything with a folder of the host", `%7B%22volume%22%3A%5B%22/%22%5D%7D`),
		list("since", "everything since another's container", `%7B%22since%22%3A%5B%22{victim}%22%5D%7D`),
		list("before", "everything before another's container", `%7B%22before%22%3A%5B%22{victim}%22%5D%7D`),
		list("status", "everything that runs", `%7B%22status%22%3A%5B%22running%22%5D%7D`),
		list("nested", "junk within junk", `%7B%22id%22%3A%7B%22a%22%3A%7B%22b%22%3A%5B%5D%7D%7D%7D`),
		list("null", "filters of null", `null`),
		list("list", "filters as a list", `%5B%22id%22%5D`),
		list("numbers", "filters of numbers", `%7B%22id%22%3A%5B1%2C2%5D%7D`),
		list("mixed", "filters in both shapes", `%7B%22id%22%3A%5B%22{victim}%22%5D%2C%22name%22%3A%7B%22x%22%3Atrue%7D%7D`),
		list("unknown", "an unknown filter", `%7B%22everybody%22%3A%5B%22true%22%5D%7D`),
		list("deep", "filters too deep", "%7B%22id%22%3A%5B%5B%5B%5B%5B%5B%5B%5D%5D%5D%5D%5D%5D%5D%7D"),
		events("all", "everything that has happened", "since=0"),
		events("victim", "what happened to another's container", `since=0&filters=%7B%22container%22%3A%5B%22{victim}%22%5D%7D`),
		events("victim-name", "what happened to another's container, by name", `since=0&filters=%7B%22container%22%3A%5B%22{victimengine}%22%5D%7D`),
		events("label", "what happened to everything with a label", `since=0&filters=%7B%22label%22%3A%5B%22{victimmark}%22%5D%7D`),
		events("image", "what happened to images", `since=0&filters=%7B%22type%22%3A%5B%22image%22%2C%22volume%22%2C%22network%22%2C%22daemon%22%5D%7D`),
		events("volume", "what happened to volumes", `since=0&filters=%7B%22type%22%3A%5B%22volume%22%5D%7D`),
		events("volume-name", "what happened to another's volume", `since=0&filters=%7B%22volume%22%3A%5B%22{victimvolume}%22%2C%22hush%22%5D%7D`),
		events("network", "what happened to networks", `since=0&filters=%7B%22type%22%3A%5B%22network%22%5D%7D`),
		events("network-name", "what happened to another's network", `since=0&filters=%7B%22network%22%3A%5B%22{victimnetwork}%22%2C%22bridge%22%5D%7D`),
		events("joined", "who mounts and joins what", `since=0&filters=%7B%22event%22%3A%5B%22connect%22%2C%22disconnect%22%2C%22mount%22%2C%22unmount%22%5D%7D`),
		events("exec", "the commands of others", `since=0&filters=%7B%22event%22%3A%5B%22exec_create%22%5D%7D`),
		events("negative", "what happened before time", "since=-99999999999"),
		events("odd", "since no time at all", "since=a%0ab"),
		events("huge", "since the end of time", "since=99999999999999999999"),
		events("scope", "what happened elsewhere", `since=0&filters=%7B%22scope%22%3A%5B%22swarm%22%5D%2C%22node%22%3A%5B%22x%22%5D%7D`),
		one("info", "the engine's information", get("/info", []int{200}), 84),
		one("info-old", "the engine's information in an old version", get("/v1.24/info", either()), 84, 10),
		one("version", "the engine's version", get("/version", []int{200}), 84),
	}
}

// apiVectors use ds01's own API as somebody who doesn't administer.
func apiVectors() []Vector {
	at := func(id, says, method, path, body string, status []int, topics ...int) Vector {
		return one("api-"+id, says, Step{Door: API, Method: method, Path: path, Body: body, Status: status}, topics...)
	}
	denied := []int{400, 403, 404, 405}
	return []Vector{
		at("list-all", "everybody's containers", "GET", "/v1/containers?all_users=true", "", denied, 84),
		at("list-as", "another's containers", "GET", "/v1/containers?user={victimlogin}", "", denied, 84),
		at("list-own", "one's own containers", "GET", "/v1/containers", "", []int{200}, 84),
		at("list-user-twice", "another's containers by a second name", "GET", "/v1/containers?user=&user={victimlogin}", "", append([]int{200}, denied...), 14, 84),
		at("list-semicolon", "another's containers behind a semicolon", "GET", "/v1/containers?x=1;user={victimlogin}", "", append([]int{200}, denied...), 14, 84),
		at("look", "a look at another's container", "GET", "/v1/containers/{victim}", "", gone(), 73),
		at("look-name", "a look at another's container by name", "GET", "/v1/containers/{victimname}", "", gone(), 73),
		at("look-engine", "a look at another's container by its name at the engine", "GET", "/v1/containers/{victimengine}", "", gone(), 73),
		at("look-as", "a look at another's container as them", "GET", "/v1/containers/{victimname}?user={victimlogin}", "", denied, 73),
		at("start", "a start of another's container", "POST", "/v1/containers/{stopped}/start", "", gone(), 85),
		at("start-as", "a start of another's container as them", "POST", "/v1/containers/{stopped}/start?user={victimlogin}", "", denied, 85),
		at("stop", "a stop of another's container", "POST", "/v1/containers/{victim}/stop", `{"timeout_seconds":0}`, gone(), 85),
		at("stop-as", "a stop of another's container as them", "POST", "/v1/containers/{victim}/stop?user={victimlogin}", `{"timeout_seconds":0}`, denied, 85),
		at("remove", "the removal of another's container", "DELETE", "/v1/containers/{victim}?force=true", "", gone(), 76),
		at("remove-as", "the removal of another's container as them", "DELETE", "/v1/containers/{victim}?force=true&user={victimlogin}", "", denied, 76),
		at("remove-prefix", "the removal of another's container by the beginning of its id", "DELETE", "/v1/containers/{victimprefix}?force=true", "", append([]int{409}, gone()...), 76, 87),
		at("adopt", "another's container adopted", "POST", "/v1/containers/{victim}/adopt", `{"user":"{login}"}`, denied, 62),
		at("create-as", "a container made for another", "POST", "/v1/containers?user={victimlogin}", `{"name":"{mark}-a","gpus":0}`, denied, 61),
		at("create-root", "the host's root as a workspace", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":0,"image":"{image}","workspace":"/"}`, denied, 42),
		at("create-canary", "a folder of root's as data", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":0,"image":"{image}","data":"{canary}"}`, denied, 42),
		at("create-link", "a folder of root's through one's own link as models", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":0,"image":"{image}","models":"{work}/link"}`, denied, 42, 43),
		at("create-victim-home", "another's home as a workspace", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":0,"image":"{image}","workspace":"{victimhome}"}`, denied, 42),
		at("create-victim-image", "a container of another's image", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":0,"image":"{victimimage}"}`, denied, 66),
		at("create-gpus", "a thousand GPUs", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":1000,"image":"{image}"}`, append([]int{429, 503}, denied...), 37),
		at("create-gpus-negative", "fewer than no GPUs", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":-1,"image":"{image}"}`, denied, 37),
		at("create-gpu-named", "another's GPU by its UUID", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":0,"gpu_request":"{victimgpu}","image":"{image}"}`, denied, 37),
		at("create-engine-name", "a container under another's name at the engine", "POST", "/v1/containers", `{"name":"{victimengine}","gpus":0,"image":"{image}"}`, denied, 62),
		at("create-unknown", "an unknown key", "POST", "/v1/containers", `{"name":"{mark}-a","privileged":true}`, denied, 28),
		at("create-case", "a key in another case", "POST", "/v1/containers", `{"Name":"{mark}-a","NAME":"x"}`, denied, 1),
		at("create-twice", "a key twice", "POST", "/v1/containers", `{"name":"{mark}-a","name":"x"}`, denied, 2),
		at("create-interface", "an interface of one's choice", "POST", "/v1/containers", `{"name":"{mark}-a","gpus":0,"image":"{image}","interface":"admin"}`, denied, 61),
		at("gpus-sim", "a device's figures set", "POST", "/v1/gpus/{victimgpu}/sim", `{"utilization_percent":0}`, denied, 85),
		at("gpus", "who holds which device", "GET", "/v1/gpus", "", []int{200}, 84),
		at("gpus-why", "why another's container holds its GPU", "GET", "/v1/gpus/why?name={victimengine}", "", denied, 84),
		at("gpus-why-as", "what another could have of the GPUs", "GET", "/v1/gpus/why?user={victimlogin}", "", denied, 84),
		at("gpus-cutting-as", "what is being cut for another", "GET", "/v1/gpus/cutting?user={victimlogin}", "", denied, 84),
		at("stats-all", "everybody's figures", "GET", "/v1/stats?all_users=true", "", denied, 73),
		at("stats-as", "another's figures", "GET", "/v1/stats?user={victimlogin}", "", denied, 73),
		at("limits-as", "another's limits", "GET", "/v1/limits?user={victimlogin}", "", denied, 84),
		at("limits-all", "everybody's limits", "GET", "/v1/limits?all=true", "", denied, 84),
		at("limits-diff", "what other limits would change", "POST", "/v1/limits/diff", `{"name":"x","yaml":"defaults: {}"}`, denied, 84),
		at("suppose-as", "what would become of another's request", "POST", "/v1/policy/eval?user={victimlogin}", `{"body":"{}"}`, denied, 84),
		at("suppose-privileged", "a privileged container, only supposed", "POST", "/v1/policy/eval", `{"name":"{mark}-s","body":"{\"Image\":\"{image}\",\"HostConfig\":{\"Privileged\":true}}"}`, []int{200}, 26),
		at("suppose-root", "the host's root mounted, only supposed", "POST", "/v1/policy/eval", `{"name":"{mark}-s","body":"{\"Image\":\"{image}\",\"HostConfig\":{\"Binds\":[\"/:/h\"]}}"}`, []int{200}, 42),
		at("suppose-gpus", "every GPU, only supposed", "POST", "/v1/policy/eval", `{"name":"{mark}-s","body":"{\"Image\":\"{image}\",\"HostConfig\":{\"DeviceRequests\":[{\"Count\":-1,\"Capabilities\":[[\"gpu\"]]}]}}"}`, []int{200}, 37),
		at("suppose-twice", "a request with a key twice, only supposed", "POST", "/v1/policy/eval", `{"body":"{}","body":"{\"Image\":\"{image}\"}"}`, denied, 2),
		at("dashboard", "the dashboard", "GET", "/v1/dashboard", "", []int{200}, 84),
		at("dashboard-as", "another's dashboard", "GET", "/v1/dashboard?user={victimlogin}", "", denied, 84),
		at("doctor", "what doctor tells", "GET", "/v1/doctor", "", []int{200}, 84),
		at("doctor-as", "what doctor tells another", "GET", "/v1/doctor?user={victimlogin}", "", denied, 84),
		at("me-as", "another's account", "GET", "/v1/me?user={victimlogin}", "", denied, 84),
		at("unknown", "a route that isn't there", "GET", "/v1/debug", "", denied, 25),
		at("pprof", "the daemon's innards", "GET", "/debug/pprof/goroutine?debug=2", "", denied, 25),
		at("docker-look", "another's container under /docker", "GET", "/docker/v1.40/containers/{victim}/json", "", gone(), 73),
		at("docker-create", "a privileged container under /docker", "POST", "/docker/v1.40/containers/create?name={mark}-x", hosted(`"Privileged":true`), refused(), 26),
		at("docker-twice", "/docker below /docker", "GET", "/docker/docker/containers/{victim}/json", "", denied, 9, 73),
		at("docker-climb", "a climb out of /docker", "GET", "/docker/../v1/containers?all_users=true", "", append([]int{301, 307, 308}, denied...), 9),
		at("docker-double", "a doubled slash under /docker", "GET", "/docker//containers/{victim}/json", "", append([]int{301, 307, 308}, denied...), 9, 73),
		at("docker-encoded", "an encoded /docker", "GET", "/%64ocker/containers/{victim}/json", "", denied, 8, 73),
		at("docker-prefix", "a word that begins with docker", "GET", "/dockerx/containers/{victim}/json", "", denied, 9),
		at("docker-session", "a builder's session under /docker", "POST", "/docker/session", "", refused(), 21),
		at("method", "another method", "PUT", "/v1/containers/{victim}", `{"name":"{mark}"}`, denied, 23),
		one("api-headers", "headers that say who one is", Step{
			Door: API, Method: "GET", Path: "/v1/containers?all_users=true", Status: denied,
			Headers: []string{"X-Remote-User: root", "Authorization: Basic cm9vdDo=", "X-Forwarded-User: root"},
		}, 23),
		one("api-pipelined", "everybody's containers behind a harmless request", Step{
			Door: API, Status: []int{200}, Stays: true,
			Raw: byHand("GET", "/v1/version", nil, "") + byHand("GET", "/v1/containers?all_users=true", nil, "") + byHand("GET", "/docker/containers/{victim}/json", []string{"Connection: close"}, ""),
		}, 18, 84),
		one("api-docker-tunnel", "a request to the API behind an attach under /docker", Step{
			Door: API, Status: []int{101},
			Raw: byHand("POST", "/docker/containers/{own}/attach?stream=1&stdin=1", []string{"Connection: Upgrade", "Upgrade: tcp"}, "") + smuggled(),
		}, 20),
	}
}
