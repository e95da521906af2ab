# what an editor does when ds01 is restarted under it: its connections end, and it
# connects again to what has run on
docker run --name base busybox sh -c 'echo dev:x:1000:1000::/home/dev:/bin/sh >>/etc/passwd; echo dev:x:1000: >>/etc/group; mkdir -p /home/dev; chown 1000:1000 /home/dev'
docker commit base dev:1 >/dev/null
docker rm base >/dev/null
head -c 1000000 /dev/urandom >archive
sum=$(sha256sum <archive)
up() { devcontainer up --workspace-folder . >up.log 2>&1 || { cat up.log; exit 1; }; }
up
id=$(docker ps -q --no-trunc --filter label=devcontainer.local_folder="$PWD")
first=$(docker inspect -f '{{.Id}} {{.State.StartedAt}}' "$id")

# the editor's server is started once, outlives every connection, and is reached
# through exec
docker exec -d -u dev "$id" nc -ll -p 9000 -e cat
reached() { same "$sum" sh -c "docker exec -i -u dev $id nc 127.0.0.1 9000 <archive | sha256sum"; }
soon sh -c "echo x | docker exec -i $id nc 127.0.0.1 9000 | grep -q x"

# holds a shell, a forwarded connection, an attach and events open
hold() {
	rm -f shell attached events
	(sleep 1000 | docker exec -i -u dev "$id" sh -c 'echo up; cat') >shell 2>&1 &
	held=$!
	(sleep 1000 | docker exec -i -u dev "$id" nc 127.0.0.1 9000) >way 2>&1 &
	held="$held $!"
	docker attach --no-stdin --sig-proxy=false "$id" >attached 2>&1 &
	held="$held $!"
	docker events --filter type=container --format '{{.Action}}' >events 2>&1 &
	held="$held $!"
	soon grep -q up shell
	# what its first process says and what is run in it shows there once they are connected
	soon sh -c "docker exec -u root $id sh -c 'echo shown >/proc/1/fd/1' && grep -q shown attached && grep -q exec_start events"
	soon sh -c "docker exec $id ps | grep -q 'nc 127.0.0.[1]'"
}
# its clients are told that what they held has ended
ended() {
	soon sh -c "! pgrep -u $(id -u) -x docker"
	pkill -u "$(id -u)" -fx 'sleep 1000' || true
	wait $held || true
	soon sh -c "! docker exec $id ps | grep 'nc 127.0.0.[1]'"
}
for signal in TERM KILL; do
	hold
	restart "$signal"
	ended
	same "$first" docker inspect -f '{{.Id}} {{.State.StartedAt}}' "$id"
	reached
	same "$id" docker ps -q --no-trunc --filter label=devcontainer.local_folder="$PWD"
	up # finds what runs
	same "$first" docker inspect -f '{{.Id}} {{.State.StartedAt}}' "$id"
done

# stopped while ds01 isn't there to see it opened again
docker exec -u dev "$id" sh -c 'echo kept >~/kept'
echo outside >note
docker stop -t 0 "$id" >/dev/null
restart TERM
same exited docker inspect -f '{{.State.Status}}' "$id"
up
same "$id" docker ps -q --no-trunc --filter label=devcontainer.local_folder="$PWD"
same kept docker exec -u dev "$id" sh -c 'cat ~/kept'
same outside docker exec -u dev "$id" cat /workspaces/work/note
docker exec -d -u dev "$id" nc -ll -p 9000 -e cat
soon sh -c "echo x | docker exec -i $id nc 127.0.0.1 9000 | grep -q x"
reached
meet end
docker rm -f "$id" >/dev/null
docker rmi dev:1 >/dev/null
