docker run -d --name train --gpus device=full busybox sleep 1000
meet both
same 1 sh -c "docker exec train ls /dev | grep -c '^nvidia[0-9]'"
docker rm -f train
