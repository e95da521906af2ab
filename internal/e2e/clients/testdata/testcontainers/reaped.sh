# a test that is killed: what it has made goes, and so does the reaper
case $WHO in alice) other=bob ;; *) other=alice ;; esac
"$PROGRAM" leave >out 2>&1 &
test=$!
labelled() { test -s "$MEETING/labels-$WHO"; }
for _ in $(seq 1200); do
	if labelled || ! kill -0 $test; then break; fi
	sleep 0.1
done
labelled || { cat out; exit 1; }
docker volume create $(cat "$MEETING/labels-$WHO") left >/dev/null
docker network ls --filter label=org.testcontainers --format '{{.Name}}' | grep -q .
# what another person's reaper would take, were it that person's
meet labelled
docker run -d --name kept $(cat "$MEETING/labels-$other") busybox sleep 1000 >/dev/null
docker volume create $(cat "$MEETING/labels-$other") kept >/dev/null
docker network create $(cat "$MEETING/labels-$other") kept >/dev/null
meet kept
kill -9 $test
soon sh -c '[ "$(docker ps -a --format "{{.Names}}")" = kept ]'
meet reaped
same kept docker ps --format '{{.Names}}'
same kept docker volume ls -q
same kept docker network ls --filter label=org.testcontainers --format '{{.Name}}'
docker rm -f kept
docker volume rm kept
docker network rm kept
docker network ls --filter name=reaper_default -q | xargs -r docker network rm
