#!/bin/bash
# Installs the Debian packages that building, linting and testing need and this
# machine lacks. Does nothing where nothing is missing. Never starts a service.
set -euo pipefail

# one engine only: docker.io and Docker's own docker-ce exclude each other
needs=()
need() { # PACKAGE COMMAND...: PACKAGE, unless all commands are there
	local package=$1 command
	shift
	for command; do
		command -v "$command" >/dev/null || { needs+=("$package"); return; }
	done
}
need gcc gcc
[ -e /usr/include/stdlib.h ] || needs+=(libc6-dev)
need shellcheck shellcheck
need curl curl
need docker.io dockerd
need containerd containerd containerd-shim-runc-v2
need runc runc
need tini docker-init
need bindfs bindfs
python3 -c 'import docker' 2>/dev/null || needs+=(python3-docker)
need bzip2 bzip2
need xz-utils xz
need iptables iptables
[ -d /usr/lib/python3/dist-packages/docker ] || needs+=(python3-docker)
# the SDK that most scripts use; tests run it with the distribution's Python
/usr/bin/python3 -c 'import docker' 2>/dev/null || needs+=(python3-docker)
# more programs that speak to Docker
need docker-compose docker-compose
need nodejs node
need npm npm
need openssh-client ssh ssh-keygen
need openssh-server sshd
# roads that containers come by
need cron cron
need at at atd
# ldd fails for a program that needs no library
if [ ! -x /bin/busybox ] || ldd /bin/busybox >/dev/null 2>&1; then needs+=(busybox-static); fi
[ ${#needs[@]} -gt 0 ] || exit 0

packages=${needs[*]}
if ! command -v apt-get >/dev/null; then
	echo "deps: this is no Debian or Ubuntu. Install what these packages hold: $packages" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "deps: not root. Run: sudo apt-get install --no-install-recommends $packages" >&2
	exit 1
fi

# packages ask this program whether they may start their services
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi

apt-get update -qq
install() {
	echo "deps: installing $*"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
install "${needs[@]}"
# a client comes with docker.io up to Debian 12, in a package of its own later
command -v docker >/dev/null || install docker-cli
