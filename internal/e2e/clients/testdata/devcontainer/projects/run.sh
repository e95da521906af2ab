for project in one two; do
	echo "$WHO $project" >$project/name
	devcontainer up --workspace-folder $project >up.log 2>&1 || { cat up.log; exit 1; }
done
meet up
for project in one two; do
	same "$WHO $project" sh -c "devcontainer exec --workspace-folder $project cat /code/name 2>/dev/null"
	container=$(docker ps -q --filter label=devcontainer.local_folder="$PWD/$project")
	docker exec -d "$container" httpd -p 8000 -h /code
	soon same "$WHO $project" sh -c "wget -qO- http://\$(docker port $container 8000 | head -n 1)/name"
done
same 2 sh -c 'docker ps -q | wc -l'
container=$(docker ps -q --filter label=devcontainer.local_folder="$PWD/one")
same 1 sh -c "docker exec $container ls /dev | grep -c '^nvidia[0-9]'"
meet end
docker rm -f $(docker ps -aq)
