echo "$WHO" >token
docker-compose --ansi never up -d
meet up
cat >want <<END
$WHO
$WHO
blue
$WHO
print
front
10.1.2.3
END
docker-compose exec -T app sh -ec '
	wget -qO- db
	wget -qO- store
	echo $COLOUR
	cat /run/secrets/token /code/main.py
	hostname
	awk "/licence/ {print \$1}" /etc/hosts
' >got
diff want got
same 'app db' sh -c 'docker-compose ps --services --filter status=running | sort | xargs'
same 2 sh -c 'docker ps -q --filter label=com.docker.compose.project=work | wc -l'
same compose docker inspect -f '{{index .Config.Labels "aime.mlc.DS01_INTERFACE"}}' "$(docker-compose ps -q app)"
docker-compose --ansi never --profile debug up -d
same debug sh -c 'docker-compose --profile debug ps --services --filter status=running | grep debug'
meet end
docker-compose --ansi never --profile debug down -t 0 -v --remove-orphans
same 0 sh -c 'docker ps -aq | wc -l'
