# who speaks in the container is its owner
docker run -d --name box -v /var/run/docker.sock:/var/run/docker.sock docker:cli sleep 1000
meet up
same box docker exec box docker ps -a --format '{{.Names}}'
docker exec box docker run -d --name child -e WHO="$WHO" busybox sleep 1000
same "$WHO" docker exec child sh -c 'echo $WHO'
same "$(printf 'child\nbox')" docker ps --format '{{.Names}}'
same /var/run/docker.sock docker inspect -f '{{range .Mounts}}{{.Source}}{{end}}' box
docker exec box docker rm -f child
same box docker ps -a --format '{{.Names}}'
meet end
docker rm -f box
