devcontainer build ${BUILDER-} --workspace-folder . --image-name mine:1 >up.log 2>&1 || { cat up.log; exit 1; }
meet built
devcontainer up ${BUILDER-} --workspace-folder . >up.log 2>&1 || { cat up.log; exit 1; }
cat >want <<END
$(id -u):$(id -g)
built
7 0 dev
yes
END
devcontainer exec --workspace-folder . sh -ec 'echo $(id -u):$(id -g); cat /word /usr/tool; echo $TOOL; touch mine' >got 2>exec.log || { cat exec.log; exit 1; }
diff want got
same "$(id -u):$(id -g)" stat -c %u:%g mine
meet end
docker rm -f $(docker ps -aq)
docker rmi $(docker images --format "{{.Repository}}:{{.Tag}}" | grep -v -e ^busybox: -e ^docker:cli -e ^testcontainers/ -e "<none>") >/dev/null
docker image prune -f >/dev/null
