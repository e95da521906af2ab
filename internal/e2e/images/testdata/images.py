# A person's day with images, through Docker's SDK for Python. Arguments: a
# word that is theirs alone, and the address of a registry.
import io
import sys
import tarfile

import docker
import docker.errors

word, registry = sys.argv[1:]
client = docker.from_env()


def absent(do):
    try:
        do()
    except docker.errors.ImageNotFound:
        return
    except docker.errors.APIError as e:
        assert e.status_code == 404, e
        return
    raise AssertionError("it is there")


# What a container says until it ends. The output that run itself returns may
# lack what was written last: the engine's follower of logs misses it at times.
def output(image, command=None, **options):
    box = client.containers.run(image, command, detach=True, **options)
    assert box.wait()["StatusCode"] == 0
    said = box.logs().decode()
    box.remove()
    return said


work = client.containers.create("busybox", ["true"], name="sdk")
image = client.images.load(b"".join(client.images.get("busybox").save(named=True)))[0]
assert image.tags == ["busybox:latest"], image.tags  # theirs now, beside the shared one
client.images.remove("busybox:latest")

image = work.commit("sdk/app", "1", message="by sdk", author=word, changes=["ENV WORD=" + word, 'CMD ["sh", "-c", "echo $WORD"]'])
assert image.tags == ["sdk/app:1"], image.tags
assert [i.tags for i in client.images.list("sdk/app")] == [["sdk/app:1"]]
assert client.images.get("sdk/app:1").id == client.images.get(image.short_id).id == image.id
assert image.tag("sdk/app", "2")
image.reload()
assert sorted(image.tags) == ["sdk/app:1", "sdk/app:2"], image.tags
assert output("sdk/app:2").strip() == word
assert image.history()[0]["Comment"] == "by sdk"

archive = b"".join(image.save(named="sdk/app:1"))
with tarfile.open(fileobj=io.BytesIO(archive)) as t:
    manifest = t.extractfile("manifest.json").read().decode()
    assert '"sdk/app:1"' in manifest and "ds01-" not in manifest, manifest
client.images.remove(image.id, force=True)
absent(lambda: client.images.get("sdk/app:1"))
again = client.images.load(archive)
assert [i.id for i in again] == [image.id] and again[0].tags == ["sdk/app:1"], again

assert image.tag(registry + "/" + word + "/app", "1")
said = client.images.push(registry + "/" + word + "/app", stream=True, decode=True)
assert any("aux" in line or "digest" in line.get("status", "") for line in said)

tree = io.BytesIO()
with tarfile.open(fileobj=tree, mode="w") as t:
    t.add("/bin/busybox", "bin/sh")
client.api.import_image_from_data(tree.getvalue(), repository="sdk/tiny", tag="1")
assert output("sdk/tiny:1", ["sh", "-c", "echo tiny"]).strip() == "tiny"

work.remove()
client.images.prune(filters={"dangling": False})
assert [i.tags for i in client.images.list()] == [["busybox:latest"]], client.images.list()
print("done")
