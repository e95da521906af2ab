docker network create net
docker volume create data
docker run -d --name db --network net -v data:/data busybox sh -c 'httpd -p 80 -h /data; echo ready; exec sleep 1000'
docker exec db sh -c "echo $WHO >/data/index.html"
docker run -d --name app --network net --label tier=front busybox sleep 1000
meet both
soon same "$WHO" docker exec app wget -qO- db
same "$WHO" docker run --rm --network net --link db:store busybox wget -qO- store
same 'app db' sh -c "docker ps --format '{{.Names}}' | sort | xargs"
same app docker ps --filter label=tier=front --format '{{.Names}}'
soon same ready docker logs db
echo "$WHO" >note
docker cp note app:/tmp/note
docker cp app:/tmp/note back
same "$WHO" cat back
docker commit app mine:1
same "$WHO" docker run --rm mine:1 cat /tmp/note
docker stop -t 0 app
docker start app
docker rename app shop
same 'exited 3' sh -c 'docker exec shop sh -c "exit 3" || echo exited $?'
meet end
docker rm -f shop db
docker network rm net
docker volume rm data
docker rmi mine:1
