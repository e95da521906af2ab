echo "a note of $WHO" >note
docker-compose --ansi never up -d --build
meet up
soon docker-compose exec -T web wget -qO- 127.0.0.1/note
docker-compose exec -T web cat /note >got
printf 'a note of %s\n%s\n' "$WHO" "$WHO" | diff - got
echo "another note of $WHO" >note
docker-compose --ansi never build
docker-compose --ansi never up -d -t 0
same 'another' docker-compose exec -T web cut -d' ' -f1 -s /note
meet end
docker-compose --ansi never down -t 0 --rmi all
same 0 sh -c 'docker images -q site | wc -l'
