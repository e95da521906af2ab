# an image with somebody in it who isn't root
docker run --name base busybox sh -c 'echo dev:x:1000:1000::/home/dev:/bin/sh >>/etc/passwd; echo dev:x:1000: >>/etc/group; mkdir -p /home/dev; chown 1000:1000 /home/dev'
docker commit base dev:1
docker rm base
mkdir data
echo "$WHO" >note
chmod 600 note
up() { devcontainer up --workspace-folder . >up.log 2>&1 || { cat up.log; exit 1; }; }
inside() { devcontainer exec --workspace-folder . "$@" 2>exec.log || { cat exec.log; exit 1; }; }
up
meet up
same 'create update start attach' sh -c 'xargs <log'
same "$WHO debug" cat data/made
same devcontainer docker inspect -f '{{index .Config.Labels "aime.mlc.DS01_INTERFACE"}}' day

# whose a file is, inside and on the host
cat >want <<END
dev
/workspaces/work
$WHO
debug
1000
1
32768
END
inside sh -ec '
	id -un
	pwd
	cat note
	echo $MODE
	stat -c %u note
	ls /dev | grep -c "^nvidia[0-9]"
	df -k /dev/shm | awk "END {print \$2}"
	touch mine /data/mine
	chmod 600 note
	test -d /cache
' >got
diff want got
same "$(id -u):$(id -g)" stat -c %u:%g mine
same "$(id -u):$(id -g)" stat -c %u:%g data/mine
rm mine data/mine

# as an editor forwards a port: through exec
docker exec -d day sh -c 'mkdir -p /tmp/www; echo $WHO >/tmp/www/index.html; httpd -f -p 127.0.0.1:8000 -h /tmp/www'
forwarded() { printf 'GET / HTTP/1.0\r\n\r\n' | docker exec -i day nc 127.0.0.1 8000 | tail -n 1; }
for _ in $(seq 50); do [ "$(forwarded)" = "$WHO" ] && break; sleep 0.1; done
[ "$(forwarded)" = "$WHO" ]

# opened again after a stop
docker stop -t 0 day
up
same 'create update start attach start attach' sh -c 'xargs <log'
same day docker ps -a --format '{{.Names}}'
same 1 sh -c "docker exec day ls /dev | grep -c '^nvidia[0-9]'"
meet end
docker rm -f day
docker volume rm cache
docker rmi dev:1
