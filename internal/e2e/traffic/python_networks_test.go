package traffic_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// story is a tutorial as one finds it for Docker's SDK for Python. It prints
// what must be the same for everybody who follows it.
const story = `
import docker
client = docker.from_env(version="1.41")
net = client.networks.create("net", driver="bridge", check_duplicate=True, labels={"course": "ml"}, attachable=True)
data = client.volumes.create(name="data", labels={"course": "ml"})
db = client.containers.run("busybox", ["sleep", "1000"], name="db", network="net", volumes={"data": {"bind": "/data", "mode": "rw"}}, ports={"80/tcp": None}, detach=True)
print(db.exec_run(["touch", "/data/x"]).exit_code)
api = client.api
config = api.create_host_config(binds=["data:/in:ro"], network_mode="net")
app = api.create_container("busybox", ["sleep", "1000"], name="app", volumes=["/in"], host_config=config,
    networking_config=api.create_networking_config({"net": api.create_endpoint_config(aliases=["front"])}))
api.start(app)
app = client.containers.get("app")
print(app.exec_run(["ls", "/in"]).output.decode().strip())
print(sorted(n.name for n in client.networks.list(names=["net"])), [v.name for v in client.volumes.list()])
print(sorted(app.attrs["NetworkSettings"]["Networks"]), app.attrs["Mounts"][0]["Name"])
print(app.exec_run(["nslookup", "db"]).exit_code, app.exec_run(["nslookup", "front"]).exit_code)
other = client.networks.create("other", internal=True)
other.connect(app, aliases=["x"])
app.reload()
print(sorted(app.attrs["NetworkSettings"]["Networks"]))
other.disconnect(app)
other.remove()
db.reload()
port = db.ports["80/tcp"][0]
print(port["HostIp"], 20000 <= int(port["HostPort"]) < 60000)
try:
    client.volumes.create(name="host", driver_opts={"type": "none", "o": "bind", "device": "/"})
except docker.errors.APIError as e:
    print(e.status_code)
try:
    client.networks.create("wan", driver="macvlan")
except docker.errors.APIError as e:
    print(e.status_code)
try:
    client.networks.get("nobodys")
except docker.errors.NotFound as e:
    print(e.status_code)
print(len(client.df()["Volumes"]), len(client.df()["Containers"]))
for c in client.containers.list():
    c.remove(force=True, v=True)
print(client.networks.prune()["NetworksDeleted"], client.volumes.prune()["VolumesDeleted"])
`

const told = `0
x
['net'] ['data']
['net'] data
0 0
['net', 'other']
127.0.0.1 True
403
403
404
1 2
['net'] ['data']`

// TestTwoPeopleFollowTheSameStoryInPython is what a program does that uses
// Docker's own SDK.
func TestTwoPeopleFollowTheSameStoryInPython(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, NetNS: true})
	both := make(chan string)
	for _, who := range []string{"alice", "bob"} { // at the same time
		go func() {
			cmd := l.Command(who, "/usr/bin/python3", "-c", story)
			out, err := cmd.CombinedOutput()
			if err != nil {
				out = append(out, err.Error()...)
			}
			both <- strings.TrimSpace(string(out))
		}()
	}
	for range 2 {
		if got := <-both; got != told {
			t.Errorf("it printed\n%s", got)
		}
	}
}
