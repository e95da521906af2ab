# what an editor does with a Dev Container, once it is up
docker run --name base busybox sh -c 'echo dev:x:1000:1000::/home/dev:/bin/sh >>/etc/passwd; echo dev:x:1000: >>/etc/group; mkdir -p /home/dev; chown 1000:1000 /home/dev'
docker commit base dev:1 >/dev/null
docker rm base >/dev/null
head -c 3000000 /dev/urandom >archive
up() { devcontainer up --workspace-folder . >up.log 2>&1 || { cat up.log; exit 1; }; }
container() { docker ps -q -a --no-trunc --filter label=devcontainer.local_folder="$PWD" --filter label=devcontainer.config_file="$PWD/.devcontainer/devcontainer.json" "$@"; }
up
meet up
same 1 sh -c "docker ps -q --filter label=devcontainer.local_folder | wc -l"
id=$(container)

# it is told when containers start, and only its own
docker events --format '{{json .}}' --filter event=start --filter type=container >events &
events=$!

# a shell that lives long, as remoteUser, which is asked one thing after the other
serve() {
	rm -f in out
	mkfifo in
	docker exec -i -u dev -w /workspaces/work -e MODE=debug "$id" sh <in >out 2>err &
	server=$!
	exec 3>in
	asked=0
	echo 'echo end-0' >&3
}
ask() {
	asked=$((asked + 1))
	printf '%s\n' "$*; echo end-$asked" >&3
	soon grep -qx "end-$asked" out
	sed -n "/^end-$((asked - 1))\$/,/^end-$asked\$/p" out | grep -v '^end-' >answer
}
serve
ask 'id -un; pwd; echo $MODE'
same "dev
/workspaces/work
debug" cat answer
ask "sh -lc env | grep -c '^MODE=debug'"
same 1 cat answer

# its server's archive comes through the input of an exec, and by copy
sum=$(sha256sum <archive)
tar -cz archive | docker exec -i -u dev "$id" sh -c 'mkdir -p ~/server && tar -xz -C ~/server'
tar -c archive | docker cp - "$id:/tmp"
same "$sum" docker exec "$id" sh -c 'sha256sum </home/dev/server/archive'
same "$sum" docker exec "$id" sh -c 'sha256sum </tmp/archive'
docker cp "$id:/home/dev/server/archive" back
same "$sum" sh -c 'sha256sum <back'

# many forwarded connections at once, large both ways; each is half closed first
docker exec -d -u dev "$id" nc -ll -p 9000 -e cat
forward() { docker exec -i -u dev "$id" nc 127.0.0.1 9000; }
soon sh -c "echo x | docker exec -i $id nc 127.0.0.1 9000 | grep -q x"
ways=
for i in 1 2 3 4 5 6; do
	forward <archive >way.$i &
	ways="$ways $!"
done
for way in $ways; do wait "$way"; done
for i in 1 2 3 4 5 6; do same "$sum" sh -c "sha256sum <way.$i"; done
# one that is cut off ends in the container, too
(sleep 1000 | exec docker exec -i -u dev "$id" nc 127.0.0.1 9000) &
soon sh -c "docker exec $id ps | grep -q 'nc 127.0.0.[1]'"
pkill -f "exec -i -u dev $id nc 127.0.0.1" || true
pkill -u "$(id -u)" -fx 'sleep 1000' || true
soon sh -c "! docker exec $id ps | grep 'nc 127.0.0.[1]'"
ask 'echo alive'
same alive cat answer
meet forwarded

# a stop ends what it holds; opened again it goes on
docker stop -t 0 "$id" >/dev/null
if wait "$server"; then
	echo 'the shell ended well' >&2
	exit 1
fi
exec 3>&-
[ -z "$(container --filter status=running)" ]
up
[ "$(container --filter status=running)" = "$id" ]
serve
ask 'ls ~/server'
same archive cat answer
soon grep -q "$id" events
kill $events
same 1 sh -c 'cut -d, -f1,2 events | sort -u | wc -l'
exec 3>&-
wait "$server"
meet end
docker rm -f "$id" >/dev/null
docker rmi dev:1 >/dev/null
