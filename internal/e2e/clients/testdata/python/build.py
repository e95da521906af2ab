# Building with Docker's SDK for Python.
import os
import pathlib
import subprocess

import docker

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


folder = pathlib.Path("app")
folder.mkdir(exist_ok=True)
folder.joinpath("note").write_text(who + "\n")
folder.joinpath("Dockerfile").write_text('FROM busybox\nARG COURSE\nCOPY note /note\nRUN echo "$COURSE" >>/note\nCMD ["cat", "/note"]\n')
image, steps = client.images.build(path=str(folder), tag="app:1", buildargs={"COURSE": "ml"}, labels={"course": "ml"}, rm=True)
said = "".join(s.get("stream", "") for s in steps)
assert "Step 2/6 : ARG COURSE" in said, said
assert image.tags == ["app:1"] and image.labels["course"] == "ml", image.attrs
subprocess.run(["meet", "built"], check=True)
assert output("app:1") == who + "\nml\n"
try:
    folder.joinpath("Dockerfile").write_text("FROM busybox\nRUN false\n")
    client.images.build(path=str(folder))
    raise SystemExit("a build that fails is no error")
except docker.errors.BuildError as e:
    assert "returned a non-zero code: 1" in e.msg, e.msg
subprocess.run(["meet", "end"], check=True)
client.images.remove("app:1")
client.images.prune()
