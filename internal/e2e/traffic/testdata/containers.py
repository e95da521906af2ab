# What people's scripts do with the Docker SDK for Python, as one of them.
import io
import tarfile
import time

import docker

client = docker.from_env()


def archive(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def refused(says, call, *args, **words):
    try:
        call(*args, **words)
    except docker.errors.APIError as e:
        assert says in str(e), str(e)
    else:
        raise AssertionError("not refused: " + says)


def read(container, path):
    stream, stat = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        return tar.extractfile(stat["name"]).read()


def resumed(container):
    """The engine may hear of a pause late, and tells an exit code after all that was before."""
    for _ in range(300):
        try:
            if container.exec_run(["sh", "-c", "exit 71"]).exit_code == 71:
                return
        except docker.errors.APIError:
            pass
        time.sleep(0.1)
    raise AssertionError("it doesn't run again")


web = client.containers.run("busybox", "sleep 1000", detach=True, name="web")
data = bytes(range(256)) * 4096
assert web.put_archive("/tmp", archive("data", data))
assert read(web, "/tmp/data") == data
refused("No such container", client.api.put_archive, "nobody", "/tmp", archive("x", b""))
climbing = archive("../x", b"")
refused("climbs", web.put_archive, "/tmp", climbing)
assert b"".join(web.export())[:4096]
assert any(c["Path"] == "/tmp/data" for c in web.diff())

web.rename("shop")
assert client.containers.get("shop").id == web.id
refused("doesn't hold", web.rename, "a._.1")
web.pause()
web.reload()
assert web.status == "paused", web.status
assert read(web, "/tmp/data") == data
web.unpause()
resumed(web)
web.reload()
assert web.status == "running" and web.name == "shop", web.name

web.stop(timeout=0)
client.containers.create("busybox", labels={"keep": "yes"}, name="kept")
pruned = client.containers.prune(filters={"label!": ["keep"]})
assert pruned["ContainersDeleted"] == [web.id] and pruned["SpaceReclaimed"] >= len(data), pruned
assert [c.name for c in client.containers.list(all=True)] == ["kept"]
client.containers.prune()
print("done")
