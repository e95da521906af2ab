package clients_test

func devcontainers() client {
	const attach = "Leave it away; most programs do without."
	return client{
		name: "Dev Containers", kind: "devcontainer", program: []string{"sh", "-eu"},
		about: "@devcontainers/cli from npm, " + pinned("testdata/node/package.json", `"@devcontainers/cli": "([^"]+)"`) + ", which VS Code's extension is made of, with Debian's docker 20.10",
		scenarios: []scenario{
			{
				says:   "an image with a `remoteUser`: files are theirs inside and yours outside; `mounts`, `containerEnv`, `remoteEnv`, `init`, `hostRequirements.gpu`, all lifecycle commands, a port forwarded through `docker exec`, opened again after `docker stop`",
				script: "day/run.sh",
			},
			{
				says:   "what an editor does with one that is up: it is found by its labels, a shell through `docker exec -i` lives on as `remoteUser`, an archive goes in by `tar` and `docker cp`, six forwarded connections at once with megabytes both ways, `docker events`; all ends with `docker stop`, and goes on when it is opened again",
				script: "editor/run.sh",
			},
			{
				says:   "ds01 is restarted, and killed, under an editor: shells, forwarded connections, attach and events end, the container and the editor's server in it run on and are reached again, `up` finds them; one that was stopped is opened again after a restart, with its files",
				script: "restart/run.sh",
			},
			{
				says:   "two projects at once: `workspaceMount`, `workspaceFolder`, `--gpus 1` and `-p 8000` under `runArgs`",
				script: "projects/run.sh",
			},
			{
				says:   "`build`, a feature that needs root while it is built, `containerUser`, `updateRemoteUserUID`, with `DOCKER_BUILDKIT=1`",
				script: "build/run.sh", env: []string{"DOCKER_BUILDKIT=1"},
			},
			{
				says:   "the same by the classic builder: `--buildkit never`, `DOCKER_BUILDKIT=0`",
				script: "build/run.sh", env: []string{"DOCKER_BUILDKIT=0", "BUILDER=--buildkit never"},
			},
			{says: "Docker's socket under `mounts` (docker-outside-of-docker)", script: "outside/run.sh"},
			{says: "`--cap-add=SYS_PTRACE` under `runArgs`", config: `"runArgs": ["--cap-add=SYS_PTRACE"]`, refused: "added capabilities reach beyond the container", instead: attach},
			{says: "`capAdd`", config: `"capAdd": ["SYS_PTRACE"]`, refused: "added capabilities reach beyond the container", instead: attach},
			{
				says: "`seccomp=unconfined` under `runArgs`, `securityOpt`", config: `"runArgs": ["--security-opt", "seccomp=unconfined"]`,
				refused: "loosens what keeps containers apart", instead: attach,
			},
			{
				says: "`privileged`, also that of a feature (docker-in-docker)", config: `"privileged": true`, refused: "a privileged container is root on the host",
				instead: "Leave it away. GPUs come by `hostRequirements.gpu`; containers are made on the host, not in containers.",
			},
			{
				says: "`--network=host` under `runArgs`", config: `"runArgs": ["--network=host"]`, refused: "the host's network reaches services that trust the host",
				instead: "`forwardPorts`.",
			},
			{says: "`--ipc=host` under `runArgs`", config: `"runArgs": ["--ipc=host"]`, refused: `"host" is not served`, instead: "`--shm-size=8g`, up to what `ds01 user limits` tells."},
			{
				says: "`appPort`", config: `"appPort": 8000`, refused: "port 8000 of the host isn't one of yours",
				instead: "`forwardPorts`, which needs no port of the host's; or `-p` and a port of the container's under `runArgs`.",
			},
			{
				says: "`--device` under `runArgs`", config: `"runArgs": ["--device=/dev/nvidia0"]`, refused: "devices are granted by --gpus only", instead: "`hostRequirements.gpu`.",
			},
			{
				says: "a `remoteUser` that the image doesn't have", config: `"remoteUser": "vscode", "updateRemoteUserUID": false`, refused: `its image has no user "vscode"`,
				instead: "Leave it away, or name one that the image has.",
			},
		},
	}
}
