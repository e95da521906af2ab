docker network create shared
docker volume create shared
docker-compose --ansi never up -d
meet up
soon same "$WHO" docker run --rm --network shared busybox wget -qO- web
meet end
docker-compose --ansi never down -t 0 -v
docker network rm shared
docker volume rm shared
