echo "$WHO" >note
devcontainer up --workspace-folder . >up.log 2>&1 || { cat up.log; exit 1; }
inside() { devcontainer exec --workspace-folder . "$@" 2>exec.log || { cat exec.log; exit 1; }; }
meet up
inside docker ps -a --format '{{.Names}}' >got
same outside cat got
# folders are named as they are outside
inside sh -c 'docker run --rm -v "$OUTSIDE:/w" busybox cat /w/note' >got
same "$WHO" cat got
meet end
docker rm -f outside
