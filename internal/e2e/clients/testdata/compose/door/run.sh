docker-compose --ansi never up -d
meet up
same proxy docker-compose exec -T proxy docker ps --filter label=com.docker.compose.project=work --format '{{.Label "com.docker.compose.service"}}'
meet end
docker-compose --ansi never down -t 0
