# An ordinary user's program that builds images through Docker's SDK.
import io
import tarfile

import docker

client = docker.from_env()


# What a container says until it ends. The output that run itself returns may
# lack what was written last: the engine's follower of logs misses it at times.
def output(image, command=None, **options):
    box = client.containers.run(image, command, detach=True, **options)
    assert box.wait()["StatusCode"] == 0
    said = box.logs().decode()
    box.remove()
    return said


def build(text, **options):
    return client.images.build(fileobj=io.BytesIO(text.encode()), **options)


def context(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return io.BytesIO(data.getvalue())


image, log = build("FROM busybox\nRUN ip -o addr\n", tag="app:1", rm=True)
log = list(log)
assert image.tags == ["app:1"], image.tags
assert not any("ds01-" in str(line) for line in log), log
addresses = "".join(line.get("stream", "") for line in log)
assert "eth0" in addresses, addresses  # the person's own network

image, log = client.images.build(
    fileobj=context({"sub/Recipe": b"FROM app:1\nCOPY note /\nCMD cat /note\n", "note": b"hello"}),
    custom_context=True, encoding="gzip", dockerfile="sub/Recipe", tag="app:2", labels={"course": "ml"},
    buildargs={"A": "b"}, container_limits={"memory": 64 << 20}, network_mode="none", nocache=True,
)
assert output("app:2") == "hello"
assert image.labels["course"] == "ml", image.labels

try:
    build("FROM busybox\n", network_mode="host")
    raise SystemExit("the host's network")
except docker.errors.APIError as e:
    assert e.status_code == 403 and "ds01: " in e.explanation, e
try:
    build("FROM busybox\nRUN exit 4\n")
    raise SystemExit("a failing step")
except docker.errors.BuildError as e:
    assert "4" in str(e), e
print("done")
