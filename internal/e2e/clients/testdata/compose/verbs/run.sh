docker-compose --ansi never events >events &
events=$!
docker-compose --ansi never up -d
meet up
soon same "$WHO" curl -s --max-time 2 "$(docker-compose port web 80)"
docker-compose logs -f >log &
logs=$!
soon grep "serving $WHO" log
docker-compose top | grep -q httpd
same 'in' sh -c 'echo in | docker-compose run -T --rm web cat'
same 'exited 3' sh -c 'docker-compose --ansi never --profile job up --exit-code-from job job >/dev/null 2>&1 || echo exited $?'
docker-compose --ansi never pause
docker-compose --ansi never unpause
docker-compose --ansi never restart -t 0
docker-compose --ansi never stop -t 0
docker-compose --ansi never start
docker-compose --ansi never up -d --scale web=3
same 3 sh -c 'docker-compose ps -q web | wc -l'
docker-compose --ansi never kill
docker-compose --ansi never rm -f
kill $events $logs || true # logs end with what they tell of
grep -q 'container start' events
meet end
docker-compose --ansi never --profile job down -t 0
