docker run -d --name web -p 80 busybox sh -c "echo $WHO >/tmp/index.html; exec httpd -f -p 80 -h /tmp"
meet both
soon same "$WHO" curl -s --max-time 2 "$(docker port web 80/tcp | head -1)"
meet end
docker rm -f web
