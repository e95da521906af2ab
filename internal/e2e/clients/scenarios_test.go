package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A client is a program that others made, with what is tried of it.
type client struct {
	name      string   // heading on the page
	about     string   // for the page: which one it is
	kind      string   // folder of its scripts below testdata
	program   []string // what runs a script
	scenarios []scenario
}

// A scenario is one thing that people do. Each is tried as it stands here, by two
// people at once, and has a row on the page.
type scenario struct {
	says    string // what it is, for the page
	script  string // file below the client's folder; one in a folder takes that along
	words   string // or what is typed in a shell
	service string // or a line of a service in a compose file, which is brought up
	config  string // or a property of a devcontainer.json, which is brought up
	env     []string
	refused string // "": it goes; else what ds01 says
	instead string // what to do in place of what is refused
}

// up brings a compose file up that is refused, and takes the network away that
// is there by then.
const up = `trap 'docker network rm work_default >/dev/null 2>&1 || true' EXIT; docker-compose --ansi never up -d`

// words returns the command that runs the scenario in a folder that lay filled.
func (c client) words(w world, s scenario) []string {
	switch {
	case s.service != "":
		return []string{"sh", "-euc", up}
	case s.config != "":
		return []string{"devcontainer", "up", "--workspace-folder", "."}
	case s.words != "":
		return []string{"sh", "-euc", s.words}
	}
	return append(c.program, filepath.Join(w.folder, c.kind, s.script))
}

// lay fills the folder in which a person runs a scenario.
func (c client) lay(t *testing.T, w world, s scenario, dir string) {
	t.Helper()
	if folder := filepath.Dir(s.script); folder != "." {
		must(t, os.CopyFS(dir, os.DirFS(filepath.Join(w.folder, c.kind, folder))))
	}
	if s.service != "" {
		file := "services:\n  app:\n    image: busybox\n    command: sleep 1000\n    " + s.service + "\n"
		must(t, os.WriteFile(filepath.Join(dir, "docker-compose.yml"), []byte(file), 0o644))
	}
	if s.config != "" {
		must(t, os.WriteFile(filepath.Join(dir, ".devcontainer.json"), []byte(`{"image": "busybox", `+s.config+"}"), 0o644))
	}
}

func clients() []client {
	return []client{docker(), compose(), composePlugin(), python(), dockerode(), testcontainers(), devcontainers()}
}

func docker() client {
	return client{
		name: "docker", about: "Debian's 20.10, and each newer one that the machine has", kind: "docker", program: []string{"sh", "-eu"},
		scenarios: []scenario{
			{says: "run, exec, logs, cp, commit, stop, start, rename, labels, links, networks, volumes", script: "day.sh"},
			{says: "a GPU: `--gpus 1`", script: "gpu.sh"},
			{says: "a GPU by its kind: `--gpus device=full`, as [GPUs](gpus.md) says", script: "kind.sh"},
			{says: "a published port: `-p 80`", script: "port.sh"},
			{says: "`docker context`", script: "context.sh"},
			{says: "from another machine: `DOCKER_HOST=ssh://…`, and a context of that kind", script: "ssh.sh"},
			{says: "`docker build` by the classic builder: stages, arguments, one's own image under `FROM`, its cache", script: "classic.sh"},
			{says: "Debian's `DOCKER_BUILDKIT=1 docker build`, in stages, with a secret and a cache", script: "build.sh"},
			{says: "`-v /var/run/docker.sock:/var/run/docker.sock`: who asks from the container is its owner", script: "door.sh"},
			{
				says: "`--privileged`", words: "docker run --rm --privileged busybox true", refused: "a privileged container is root on the host",
				instead: "Leave it away. GPUs come by `--gpus N`.",
			},
			{
				says: "`--cap-add`", words: "docker run --rm --cap-add SYS_PTRACE busybox true", refused: "added capabilities reach beyond the container",
				instead: "Leave it away; most programs do without.",
			},
			{
				says: "`--network host`", words: "docker run --rm --network host busybox true", refused: "the host's network reaches services that trust the host",
				instead: "`-p PORT` and `docker port`; containers on one network find each other by name.",
			},
			{
				says: "`-p 8080:80`", words: "docker run --rm -p 8080:80 busybox true", refused: "port 8080 of the host isn't one of yours",
				instead: "`-p 80`, and `docker port` tells which port of yours it is.",
			},
			{
				says: "`--gpus device=0`", words: "docker run --rm --gpus device=0 busybox true", refused: "devices are chosen by ds01",
				instead: "`--gpus 1`, or a kind: `--gpus device=2g.20gb`. A slot or UUID is for whom it is reserved.",
			},
			{
				says: "`-v` of a folder that isn't yours", words: "docker run --rm -v /etc:/host busybox true", refused: "it doesn't lie in a folder that you may mount from",
				instead: "Your home, and what `ds01 user limits` lists at `mounts`.",
			},
			{
				says: "`--add-host NAME:host-gateway`", words: "docker run --rm --add-host host.docker.internal:host-gateway busybox true",
				refused: "leads to the host's own services", instead: "Run the service in a container on the same network.",
			},
		},
	}
}

func compose() client {
	return client{
		name: "docker-compose", about: "Debian's 1.29.2", kind: "compose", program: []string{"sh", "-eu"},
		scenarios: []scenario{
			{says: "services with `depends_on` by health and by success, networks with aliases, volumes, tmpfs, secrets, `env_file`, `extra_hosts`, limits, `restart`, profiles; `up -d`, `exec`, `ps`, `down -v`", script: "stack/run.sh"},
			{says: "`logs -f`, `events`, `top`, `port`, `run --rm`, `up --exit-code-from`, `pause`, `restart`, `stop`, `start`, `--scale`, `kill`, `rm`", script: "verbs/run.sh"},
			{says: "`container_name`, external networks and volumes", script: "external/run.sh"},
			{says: "GPUs: `deploy.resources.reservations.devices` with a `count`", script: "gpu/run.sh"},
			{says: "GPUs by their kind: `device_ids: [full]`", script: "kind/run.sh"},
			{says: "services made anew, with and without their volumes", script: "recreate/run.sh"},
			{says: "`up --build`, `build`, `down --rmi all`", script: "build/run.sh"},
			{
				says: "the same by BuildKit: `COMPOSE_DOCKER_CLI_BUILD=1`, `DOCKER_BUILDKIT=1`", script: "build/run.sh",
				env: []string{"COMPOSE_DOCKER_CLI_BUILD=1", "DOCKER_BUILDKIT=1"},
			},
			{says: "Docker's socket under `volumes`", script: "door/run.sh"},
			{
				says: "`device_ids: [\"0\"]`", service: `deploy: {resources: {reservations: {devices: [{device_ids: ["0"], capabilities: [gpu]}]}}}`,
				refused: "devices are chosen by ds01", instead: "`count: 1`, or a kind: `device_ids: [2g.20gb]`. A slot or UUID is for whom it is reserved.",
			},
			{
				says: "`ports: [\"8080:80\"]`", service: `ports: ["8080:80"]`, refused: "port 8080 of the host isn't one of yours",
				instead: "`ports: [\"80\"]`, and `docker-compose port SERVICE 80` tells which port of yours it is.",
			},
			{says: "`network_mode: host`", service: "network_mode: host", refused: "the host's network reaches services", instead: "`ports`; services find each other by name."},
			{says: "`privileged: true`", service: "privileged: true", refused: "a privileged container is root on the host", instead: "Leave it away."},
			{
				says: "`dns`", service: "dns: 10.1.2.3", refused: "name servers are the host's",
				instead: "Leave it away; names of hosts go under `extra_hosts`.",
			},
		},
	}
}

// composePlugin is the compose that newer hosts have. It runs what the older one
// does.
func composePlugin() client {
	c := compose()
	c.name = "docker compose"
	c.about = pinned("../../../tools/compose/go.mod", `docker/compose/v2 (v\S+)`) + ", by itself and with buildx " +
		pinned("../../../tools/buildx/go.mod", `docker/buildx (v\S+)`) + "; both take minutes to build, so that only `make test-long` does"
	for i, s := range c.scenarios {
		c.scenarios[i].instead = strings.ReplaceAll(s.instead, "docker-compose", "docker compose")
		switch {
		case s.script == "build/run.sh" && s.env == nil:
			c.scenarios[i].says = "`up --build`, `build`, `down --rmi all`, by BuildKit: its own, and buildx with `bake`"
		case s.script == "build/run.sh":
			c.scenarios[i].says, c.scenarios[i].env = "the same by the classic builder: `DOCKER_BUILDKIT=0`", []string{"DOCKER_BUILDKIT=0"}
		}
	}
	c.scenarios = append(
		c.scenarios,
		scenario{says: "GPUs by `gpus`: `all`, a `count`, and a kind under `device_ids`", script: "gpus/run.sh"},
		scenario{
			says: "`gpus: [{device_ids: [\"0\"]}]`", service: `gpus: [{device_ids: ["0"]}]`, refused: "devices are chosen by ds01",
			instead: "`gpus: [{count: 1}]`, or a kind: `gpus: [{device_ids: [2g.20gb]}]`.",
		},
	)
	return c
}

func python() client {
	return client{
		name: "Docker SDK for Python", about: "Debian's python3-docker 5.0.3", kind: "python", program: []string{"/usr/bin/python3"},
		scenarios: []scenario{
			{says: "containers with a GPU, health check and limits, exec with a socket, logs, archives, stats, update, commit, networks, volumes", script: "day.py"},
			{says: "images built, and builds that fail", script: "build.py"},
		},
	}
}

func dockerode() client {
	return client{
		name: "dockerode", about: "from npm, " + pinned("testdata/node/package.json", `"dockerode": "([^"]+)"`), kind: "node", program: []string{"node"},
		scenarios: []scenario{
			{says: "containers with a GPU and a port, exec with and without input, events, logs, archives, stats, commit, networks, volumes", script: "day.js"},
			{says: "images built from files and from a tar, and a build that fails", script: "build.js"},
		},
	}
}

func testcontainers() client {
	return client{
		name: "testcontainers-go", about: pinned("testdata/testcontainers/go.mod", `testcontainers-go (v\S+)`), kind: "testcontainers", program: []string{"sh", "-eu"},
		scenarios: []scenario{
			{
				says:  "with `TESTCONTAINERS_RYUK_DISABLED=true`: a container with files, ports, aliases and all ways to wait, on a network of its own; exec, copy, stop, start",
				words: `"$PROGRAM"`, env: []string{"TESTCONTAINERS_RYUK_DISABLED=true"},
			},
			{
				says:  "`FromDockerfile`, with the same: an image built, its container, and both gone afterwards",
				words: `"$PROGRAM" build`, env: []string{"TESTCONTAINERS_RYUK_DISABLED=true"},
			},
			{
				says: "a test that is killed: its reaper removes containers, networks and volumes, and no other person's with the same labels. In the place of " +
					"Ryuk, which neither a registry nor the Go module proxy is there to give, runs a program of our own that speaks its protocol and asks for the same",
				script: "reaped.sh", env: []string{"RYUK_RECONNECTION_TIMEOUT=1s"},
			},
		},
	}
}
