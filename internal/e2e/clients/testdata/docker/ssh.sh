export DOCKER_HOST="$SSH_HOST"
docker run -d --name web busybox sh -c 'echo ready; exec sleep 1000'
meet both
same web docker ps --format '{{.Names}}'
same "$(id -u)" docker inspect -f '{{index .Config.Labels "aime.mlc.DS01_UID"}}' web
same in sh -c 'echo in | docker exec -i web cat'
soon same ready docker logs web
head -c 1000000 /dev/urandom >large
docker cp large web:/tmp/large
docker cp web:/tmp/large back
cmp large back
docker context create far --docker "host=$SSH_HOST"
unset DOCKER_HOST
same web docker --context far ps --format '{{.Names}}'
docker context rm far
export DOCKER_HOST="$SSH_HOST"
meet end
docker rm -f web
