# Building with Docker's SDK for Python.
import os
import pathlib
import subprocess

import docker

who = os.environ["WHO"]
client = docker.from_env()
folder = pathlib.Path("app")
folder.mkdir(exist_ok=True)
folder.joinpath("note").write_text(who + "\n")
folder.joinpath("Dockerfile").write_text('FROM busybox\nARG COURSE\nCOPY note /note\nRUN echo "$COURSE" >>/note\nCMD ["cat", "/note"]\n')
image, steps = client.images.build(path=str(folder), tag="app:1", buildargs={"COURSE": "ml"}, labels={"course": "ml"}, rm=True)
said = "".join(s.get("stream", "") for s in steps)
assert "Step 2/6 : ARG COURSE" in said, said
assert image.tags == ["app:1"] and image.labels["course"] == "ml", image.attrs
subprocess.run(["meet", "built"], check=True)
assert client.containers.run("app:1", remove=True).decode() == who + "\nml\n"
try:
    folder.joinpath("Dockerfile").write_text("FROM busybox\nRUN false\n")
    client.images.build(path=str(folder))
    raise SystemExit("a build that fails is no error")
except docker.errors.BuildError as e:
    assert "returned a non-zero code: 1" in e.msg, e.msg
subprocess.run(["meet", "end"], check=True)
client.images.remove("app:1")
client.images.prune()
