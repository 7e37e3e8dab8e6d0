"""An ordinary user of a machine without systemd, and stacks of theirs."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.e2e import ordinary
from tests.e2e.ordinary import NEIGHBOUR, OWN, PYTHON, USER, Machine
from tests.e2e.sandbox import eventually
from tests.image.archives import docker_archive, info, pack

pytestmark = [pytest.mark.e2e,
              pytest.mark.skipif(bool(ordinary.lacks()), reason=ordinary.lacks())]  # fmt: skip



def test_a_stack_of_a_user_with_one_id_works(machine: Machine) -> None:
    (machine.home / "compose.yaml").write_text("""
services:
  web: {image: pcompose/host, command: python3 -m http.server 8000, working_dir: /srv,
        volumes: ["data:/srv", "./run:/here"], healthcheck: {test: "true"}}
  other: {image: pcompose/host, command: sleep 1000, init: true,
          depends_on: {web: {condition: service_healthy}}}
volumes: {data: }
""")
    machine.pcompose("up", "--detach")
    machine.pcompose("exec", "-T", "web", "sh", "-c", "echo written >/srv/f; touch /here/mine")
    assert (machine.home / "run/mine").stat().st_uid == USER
    fetch = (PYTHON, "-c", ordinary.FETCH, "http://web:8000/f")
    assert machine.pcompose("exec", "-T", "other", *fetch).strip() == "written"
    machine.pcompose("stop", "--timeout", "0", "other")
    machine.pcompose("start", "other")
    rows = [json.loads(line) for line in machine.pcompose("ps", "--format", "json").splitlines()]
    assert {row["Service"]: row["State"] for row in rows} == {"web": "running", "other": "running"}
    tries = "mount -t tmpfs x /mnt || echo 1 >/proc/sys/kernel/panic"
    command = f"({tries}) 2>/dev/null && echo out || echo held"
    assert machine.pcompose("exec", "-T", "web", "sh", "-c", command).strip() == "held"


@ordinary.needs_ids
def test_containers_reach_other_machines_and_others_their_ports(machine: Machine) -> None:
    machine.give_ids()
    machine.give_neighbour()
    answers = (PYTHON, "-c", ordinary.ANSWERS)
    machine.serve_near(*answers, NEIGHBOUR, "80", "from outside")
    machine.serve(*answers, "127.0.0.1", "81", "of the host's loopback")
    (machine.home / "answers.py").write_text(ordinary.ANSWERS)
    (machine.home / "compose.yaml").write_text("""
services:
  web: {image: pcompose/host, command: python3 /answers.py 0.0.0.0 8000 inside, user: www-data,
        volumes: ["./answers.py:/answers.py:ro"], ports: ["18000:8000", "127.0.0.1:18001:8000"]}
""")
    machine.pcompose("up", "--detach")
    fetch = (PYTHON, "-c", ordinary.FETCH)
    inside = ("exec", "-T", "web", *fetch)
    assert machine.pcompose(*inside, "http://outside.example/").strip() == "from outside"
    reach = "import socket; socket.create_connection((%r, 81), timeout=1)"
    for address in (NEIGHBOUR, OWN):  # what leads to the host's loopback in other set-ups
        command = ("exec", "-T", "web", PYTHON, "-c", reach % address)
        refused = machine.user(PYTHON, "-m", "orchestrator", *command)
        assert "refused" in refused.stderr or "timed out" in refused.stderr
    eventually(lambda: machine.user(*fetch, "http://127.0.0.1:18001/").stdout == "inside\n")
    assert machine.user(*fetch, f"http://{OWN}:18000/").stdout == "inside\n"
    assert machine.near(*fetch, f"http://{OWN}:18000/").strip() == "inside"
    assert machine.pcompose("exec", "-T", "web", "id", "-un").strip() == "www-data"


@ordinary.needs_ids
def test_layers_hide_what_lies_below_them(machine: Machine) -> None:
    """Whiteouts and opaque directories: of an archive, and of a build and out of it again."""
    machine.give_ids()
    links = [(info(name, type=tarfile.SYMTYPE, linkname=f"usr/{name}"), b"")
             for name in ("bin", "lib", "lib64")]  # fmt: skip
    below = pack(*links, (info("d/old"), b"x"), (info("gone"), b"x"), (info("own", uid=33), b"x"))
    node = info("dev/sda", type=tarfile.BLKTYPE, devmajor=8)
    above = pack((info("d/.wh..wh..opq"), b""), (info("d/new"), b"x"), (info(".wh.gone"), b""),
                 (node, b""))  # fmt: skip
    (machine.home / "hidden.tar").write_bytes(docker_archive({"hidden:1": [below, above]}))
    (machine.home / "compose.yaml").write_text("""
services:
  loaded: {image: "hidden:1", command: sleep infinity, volumes: ["/usr:/usr:ro"]}
  built:
    image: built:1
    command: sleep infinity
    build:
      dockerfile_inline: |
        FROM pcompose/host
        RUN mkdir -p /opt/d && touch /opt/d/old /opt/gone && chown 33:33 /opt/d/old
        RUN rm -r /opt/d /opt/gone && mkdir /opt/d && touch /opt/d/new
""")
    machine.pcompose("load", "--input", "hidden.tar")
    machine.pcompose("up", "--detach", "--build")
    for service, place in (("loaded", "/"), ("built", "/opt")):
        found = machine.pcompose("exec", "-T", service, "sh", "-c", f"ls {place} {place}/d")
        assert {"new"} == set(found.split()) & {"new", "old", "gone", "sda"}
    assert machine.pcompose("exec", "-T", "loaded", "stat", "-c", "%u", "/own").strip() == "33"
    change = "rm -r /d /own && mkdir /d && touch /d/newer"
    machine.pcompose("exec", "-T", "loaded", "sh", "-c", change)
    machine.pcompose("stop", "--timeout", "0", "loaded")  # to pause it takes a control group
    machine.pcompose("commit", "loaded", "changed:1")
    machine.pcompose("image", "save", "--output", "saved.tar", "changed:1")
    members = last_layer(machine.home / "saved.tar")
    assert {".wh.own", "d/.wh..wh..opq", "d/newer"} <= {member.name for member in members}
    assert not any(key.startswith("SCHILY.xattr") for m in members for key in m.pax_headers)


def last_layer(archive: Path) -> list[tarfile.TarInfo]:
    """The uppermost layer of the one image in it."""
    with tarfile.open(archive) as whole:
        manifest = whole.extractfile("manifest.json")
        assert manifest is not None
        (image,) = json.load(manifest)
        with tarfile.open(fileobj=whole.extractfile(image["Layers"][-1])) as layer:
            return layer.getmembers()


STACKS = """
import urllib.request

def page(url):
    return urllib.request.urlopen(url, timeout=20).read().decode()

def test_inside(compose_project):
    host, port = compose_project.address("web", 8000)
    assert page(f"http://{host}:{port}/") == "inside"
    assert page("http://127.0.0.1:18002/") == "inside"
"""


def test_stacks_of_a_users_tests(machine: Machine) -> None:
    """The plugin of pytest is in the user's namespaces, and published ports are there too."""
    (machine.home / "answers.py").write_text(ordinary.ANSWERS)
    (machine.home / "compose.yaml").write_text("""
services:
  web: {image: pcompose/host, command: python3 /answers.py 0.0.0.0 8000 inside,
        volumes: ["./answers.py:/answers.py:ro"], ports: ["18002:8000"],
        healthcheck: {test: [CMD, python3, -c, "__import__('socket').create_connection(('localhost', 8000))"],
                      interval: 200ms, retries: 100}}
""")  # noqa: E501
    (machine.home / "test_stacks.py").write_text(STACKS)
    done = machine.user(PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "test_stacks.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "limits of containers cannot be enforced" in done.stdout
