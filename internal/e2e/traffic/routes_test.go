package traffic_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/e2e/lab"
)

// TestAStockClientTakesEveryRoute holds that each route that is served is taken
// by a client as it is, and answered without an error. What comes of it, other
// tests look at.
func TestAStockClientTakesEveryRoute(t *testing.T) {
	var tours []*lab.Recorder
	t.Run("on an engine with networks", func(t *testing.T) {
		l := start(t, lab.Options{Users: []string{"alice"}, NetNS: true})
		tours = append(tours, tour(t, l, strings.Split(strings.TrimSpace(hostTour), "\n")))
	})
	t.Run("on one that reaches a registry", func(t *testing.T) {
		l := start(t, lab.Options{Users: []string{"alice"}})
		tours = append(tours, tour(t, l, registryTour(l)))
	})
	for _, route := range admission.Routes() {
		if route.Op == admission.BuildControl {
			continue // buildx takes it: see TestBuildx
		}
		if route.Op != "" && !slices.ContainsFunc(tours, func(r *lab.Recorder) bool { return r.Taken(route) }) {
			t.Errorf("no client takes %s %s", route.Method, route.Pattern)
		}
	}
}

// tour has alice go through lines for a shell, which may run $SCRIPT in Python,
// and returns where she was.
func tour(t *testing.T, l *lab.Lab, lines []string) *lab.Recorder {
	t.Helper()
	script, err := os.ReadFile("testdata/routes.py")
	if err != nil {
		t.Fatal(err)
	}
	r := l.Record("alice")
	for _, line := range lines {
		cmd := l.Command("alice", "sh", "-ec", line)
		cmd.Env = append(cmd.Env, r.Host(), "SCRIPT="+string(script))
		if got := l.Finish(cmd); got.Code != 0 {
			t.Errorf("%s: exit code %d\n%s\n%s", line, got.Code, got.Out, got.Err)
		}
	}
	return r
}

// hostTour goes where no registry is needed. Nothing is done in the container
// once it was paused: an engine under load may take it for paused a while on.
const hostTour = `
docker version
docker info
docker events --since 1 --until 2
docker volume create data
docker volume ls
docker volume inspect data
docker network create net
docker network ls
docker network inspect net
docker run -d --name web busybox sleep 1000
docker run --rm -v data:/data busybox true
docker network connect net web
docker network disconnect net web
docker ps
docker inspect web
docker top web
docker logs web
docker exec web touch /new
docker diff web
docker cp web:/new copy
docker cp copy web:/tmp
docker export -o files.tar web
docker update --memory 64m --memory-swap 64m web
docker rename web shop
docker rename shop web
docker stop -t 0 web
docker start web
docker restart -t 0 web
/usr/bin/python3 -c "$SCRIPT"
docker pause web
docker unpause web
docker commit web snap:1
printf 'FROM busybox\nCMD true\n' | docker build -t built:1 -
docker images
docker image inspect snap:1
docker history snap:1
docker tag snap:1 snap:2
docker save -o snap.tar snap:1
docker load -i snap.tar
docker import files.tar whole:1
docker rmi snap:2
docker image prune -f
docker system df
mkdir made && printf 'FROM busybox\nRUN true\n' > made/Dockerfile && DOCKER_BUILDKIT=1 /usr/bin/docker build -t made made
printf "FROM busybox\nRUN sleep 6$$\n" > made/Dockerfile; DOCKER_BUILDKIT=1 /usr/bin/docker build made & until pgrep -fx "sleep 6$$"; do kill -0 $!; sleep 0.1; done; kill $!; ! wait $!
docker kill web
docker container prune -f
docker create --name made busybox
docker rm made
docker network rm net
docker network prune -f
docker volume rm data
docker volume prune -f
docker system prune -f --volumes
`

func registryTour(l *lab.Lab) []string {
	r := l.StartRegistry()
	r.Demand("alice", "rabbit")
	name := r.Image("team/app:1")
	return []string{
		"docker login -u alice -p rabbit " + r.Host(),
		"docker tag busybox " + name,
		"docker push " + name,
		"docker rmi " + name,
		"docker pull " + name,
		"docker search " + r.Image("app"),
		lab.Python + ` -c 'import docker; print(docker.from_env().images.get_registry_data("` + name + `").id)'`,
	}
}
