docker context create server --docker "host=$DOCKER_HOST"
unset DOCKER_HOST
same "$WHO" docker --context server run --rm busybox echo "$WHO"
docker context use server
docker run -d --name web busybox sleep 1000
meet both
same web docker ps --format '{{.Names}}'
meet end
docker rm -f web
docker context use default
docker context rm server
