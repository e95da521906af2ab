# A day with Docker's SDK for Python, as it is written in its documentation.
import io
import os
import subprocess
import tarfile

import docker
from docker.types import DeviceRequest, Mount

who = os.environ["WHO"]
client = docker.from_env()


# What a container says until it ends. The output that run itself returns may
# lack what was written last: the engine's follower of logs misses it at times.
def output(image, command=None, **options):
    box = client.containers.run(image, command, detach=True, **options)
    assert box.wait()["StatusCode"] == 0
    said = box.logs().decode()
    box.remove()
    return said


def meet(place):
    subprocess.run(["meet", place], check=True)


assert client.ping()
client.containers.run("busybox", "true", remove=True)
assert output("busybox", ["echo", who]).strip() == who
net = client.networks.create("net", labels={"course": "ml"})
data = client.volumes.create("data")
web = client.containers.run(
    "busybox",
    ["sh", "-c", "echo serving; exec httpd -f -p 80 -h /data"],
    name="web",
    network="net",
    detach=True,
    mounts=[Mount("/data", "data")],
    ports={"80/tcp": None},
    healthcheck={"test": ["CMD", "true"], "interval": 1000000000},
    mem_limit="64m",
    nano_cpus=500000000,
    device_requests=[DeviceRequest(count=1, capabilities=[["gpu"]])],
)
assert web.exec_run(["sh", "-c", "echo %s >/data/index.html" % who]).exit_code == 0
meet("up")
assert [c.name for c in client.containers.list()] == ["web"]
assert [n.name for n in client.networks.list(filters={"label": "course"})] == ["net"]
assert [v.name for v in client.volumes.list()] == ["data"]
assert output("busybox", ["sh", "-c", "until wget -qO- web 2>/dev/null; do sleep 0.1; done"], network="net").strip() == who
for line in web.logs(stream=True, follow=True):
    assert line == b"serving\n", line
    break
devices = web.exec_run(["ls", "/dev"]).output.decode().split()
assert len([d for d in devices if d.startswith("nvidia") and d[6:].isdigit()]) == 1, devices
assert web.stats(stream=False)["id"] == web.id
assert any("httpd" in " ".join(row) for row in web.top()["Processes"])

stream = web.exec_run(["cat"], stdin=True, socket=True).output
stream._sock.sendall(b"in\n")
assert b"in\n" in stream._sock.recv(100)
stream.close()

out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w") as tar:
    info = tarfile.TarInfo("note")
    info.size = len(who)
    tar.addfile(info, io.BytesIO(who.encode()))
assert web.put_archive("/tmp", out.getvalue())
chunks, stat = web.get_archive("/tmp/note")
with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
    assert tar.extractfile("note").read().decode() == who

web.update(mem_limit="32m", memswap_limit="32m")
web.pause()
web.unpause()
web.restart(timeout=0)
web.rename("shop")
assert client.containers.get("shop").id == web.id
image = web.commit("mine", "1")
assert client.images.get("mine:1").id == image.id
meet("end")
web.stop(timeout=0)
assert web.wait()["StatusCode"] >= 0
web.remove()
client.images.remove("mine:1")
net.remove()
data.remove()
