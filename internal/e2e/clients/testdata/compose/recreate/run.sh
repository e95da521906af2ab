export COLOUR=blue
docker-compose --ansi never up -d
docker-compose exec -T web touch /data/kept
meet up
export COLOUR=red
docker-compose --ansi never up -d
same red docker-compose exec -T web sh -c 'echo $COLOUR'
docker-compose exec -T web ls /data/kept
docker-compose --ansi never up -d -t 0 -V --force-recreate
same gone docker-compose exec -T web sh -c '[ -e /data/kept ] || echo gone'
docker volume prune -f # docker-compose leaves the old one
meet end
docker-compose --ansi never down -t 0 -v
