#!/bin/sh
# guard.sh DIR CGROUP SLICE [USER]
#
# Watches over one scratch engine, which lives in DIR, keeps its containers
# under CGROUP in each cgroup hierarchy, or in systemd's SLICE, and, where USER
# is given, is remapped by that user's subordinate ids. Prints "ready" when the
# engine may start, and then waits on its standard input, whose other end the
# engine's starter holds. However the starter ends, the guard notices, ends
# whatever is left of the engine and takes back what it changed on the host. The
# word "leave" sends it away without doing so.
set -u
dir=$1 cgroup=$2 slice=$3 user=${4-}
ids=2147483648-4294483647
lock=/run/ds01-scratch

# pids prints the engine's own processes: those with one of its paths as an
# argument. Containers are their children.
pids() {
	grep -lsazxF -e "$dir/containerd.sock" -e "$dir/containerd.toml" /proc/[0-9]*/cmdline | cut -d/ -f3 | while read -r p; do
		case $(cat "/proc/$p/comm" 2>/dev/null) in
		dockerd | containerd | containerd-shim) echo "$p" ;;
		esac
	done
}

# end kills the given process and all that descend from it. The process is
# stopped first, so that it starts nothing new meanwhile.
end() {
	kill -STOP "$1" 2>/dev/null || return 0
	children=$(cat "/proc/$1/task"/*/children 2>/dev/null)
	kill -KILL "$1" 2>/dev/null
	for child in $children; do end "$child"; done
}

cgroups() {
	for g in "/sys/fs/cgroup$cgroup" /sys/fs/cgroup/*"$cgroup" "/sys/fs/cgroup/$slice" /sys/fs/cgroup/*/"$slice"; do
		[ -d "$g" ] && find "$g" -depth -type d
	done
}

# mounts prints the mount points in DIR, the deepest first.
mounts() {
	awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

# sweep ends the engine and removes all it made, but its logs.
sweep() {
	for address in "$dir"/state/io.containerd.runtime.v2.task/*/*/address; do
		[ -f "$address" ] && rm -f "$(sed 's,^unix://,,' "$address")"
	done
	tries=0
	while [ -n "$(pids)$(cgroups)$(mounts)" ]; do
		[ $((tries += 1)) -le 200 ] || {
			echo "still there after 10 s:" "$(pids)" "$(cgroups)" "$(mounts)" >&2
			return 1
		}
		for p in $(pids); do end "$p"; done
		for g in $(cgroups); do
			rmdir "$g" 2>/dev/null || while read -r p; do kill -KILL "$p" 2>/dev/null; done <"$g/cgroup.procs"
		done
		for m in $(mounts); do umount "$m" 2>/dev/null; done
		sleep 0.05
	done
	# its groups are gone, but systemd may still take it for active
	! systemctl --quiet is-active "$slice" 2>/dev/null || systemctl stop "$slice" || return 1
	rm -rf "$dir/data" "$dir/exec" "$dir"/exec.* "$dir/root" "$dir/state"
	rm -f "$dir/containerd.sock" "$dir/containerd.sock.ttrpc" "$dir/engine.sock" "$dir/engine.pid" "$dir/key.json" "$dir/net"
}

# shadow runs a program of the shadow suite again while another one holds the
# password file: each of them gives up at once.
shadow() {
	tries=0
	until said=$("$@" 2>&1); do
		case $said in *"try again"*) ;; *) tries=600 ;; esac
		[ $((tries += 1)) -le 600 ] || { echo "$said" >&2; return 1; }
		sleep 0.05
	done
}

# hold makes the user with its ids, if need be, and counts this guard among
# those who need it: each has a shared lock, which no death leaves behind.
hold() {
	exec 8>"$lock.mutex" && flock 8 && exec 9>"$lock.users" && flock -s 9 || return 1
	touch /etc/subuid /etc/subgid
	id "$user" >/dev/null 2>&1 ||
		shadow useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "$user" || return 1
	grep -qs "^$user:" /etc/subuid && grep -qs "^$user:" /etc/subgid ||
		shadow usermod --add-subuids "$ids" --add-subgids "$ids" "$user" || return 1
	exec 8>&-
}

# release removes the user if no other guard needs it.
release() {
	exec 8>"$lock.mutex" && flock 8 && exec 9>&- && exec 9>"$lock.users" || return 1
	if flock -n 9; then
		# by force: another engine may use the same ids, which userdel takes for a login
		! id "$user" >/dev/null 2>&1 || shadow userdel --force "$user" || return 1
	fi
	exec 9>&- 8>&-
}

exec 7>"$dir/lock"
flock -n 7 || { echo "another engine runs in $dir" >&2; exit 1; }
sweep || exit 1
[ -z "$user" ] || hold || exit 1
echo ready
read -r word && [ "$word" = leave ] && exit 0
sweep; rc=$?
[ -z "$user" ] || release || rc=1
exit "$rc"
