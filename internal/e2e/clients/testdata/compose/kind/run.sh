docker-compose --ansi never up -d
meet up
same 1 sh -c "docker-compose exec -T train ls /dev | grep -c '^nvidia[0-9]'"
meet end
docker-compose --ansi never down -t 0
