# Takes those routes of the Docker API that the docker command has no word for,
# or takes two seconds over.
import docker

client = docker.from_env()
client.ping()
web = client.containers.get("web")
assert next(web.stats(decode=True))["id"] == web.id
client.api.resize(web.id, height=24, width=80)
run = client.api.exec_create(web.id, ["sleep", "10"], tty=True)
client.api.exec_start(run, tty=True, detach=True)
client.api.exec_resize(run, height=24, width=80)
assert client.api.exec_inspect(run)["Running"]
assert b"".join(client.images.get("busybox").save())
print("done")
