"""Images between machines: Debian's docker-registry, with skopeo as the other client."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import Sandbox, Stack, eventually
from tests.e2e.test_images import digest, rootfs_tar

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("docker-registry") is None or shutil.which("skopeo") is None,
                       reason="needs the Debian packages docker-registry and skopeo"),
]  # fmt: skip

HOST = "127.0.0.1:5000"
REGISTRY = f"""
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage:
  filesystem: {{rootdirectory: %s}}
  delete: {{enabled: true}}
http: {{addr: "{HOST}"}}
%s
"""
FILE = (
    f"services:\n  s: {{image: '{HOST}/app:1', command: [/bin/sh, -c, \"cat /etc/marker\"]}}\n"
)
BUILT = FILE.replace("}", f", build: {{context: ., tags: ['{HOST}/copy:2']}}}}", 1)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Server:
    """A registry in the sandbox."""

    sandbox: Sandbox
    directory: Path
    process: subprocess.Popen[str]

    def skopeo(self, *arguments: str) -> str:
        """Output of skopeo, run beside the registry."""
        done = self.sandbox.run(["skopeo", "--insecure-policy", *arguments])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def digest(self, name: str) -> str:
        """What skopeo says that a name stands for."""
        return digest(self.skopeo("inspect", "--raw", "--tls-verify=false",
                                  f"docker://{HOST}/{name}").encode())  # fmt: skip

    def copy(self, source: str, target: str) -> None:
        """skopeo copy, digests preserved."""
        self.skopeo("copy", "--preserve-digests", "--src-tls-verify=false",
                    "--dest-tls-verify=false", source, target)


def start(sandbox: Sandbox, directory: Path, extra: str = "") -> Server:
    directory.mkdir()
    file = directory / "config.yml"
    file.write_text(REGISTRY % (directory / "data", extra))
    process = subprocess.Popen(
        sandbox.inside(["docker-registry", "serve", str(file)]), env=sandbox.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    probe = "import socket; socket.create_connection(('127.0.0.1', 5000), 1)"
    ask = ["python3", "-c", probe]
    eventually(lambda: sandbox.run(ask).returncode == 0, timeout=60, what="the registry answers")
    return Server(sandbox, directory, process)


@pytest.fixture
def server(sandbox: Sandbox, tmp_path: Path) -> Iterator[Server]:
    found = start(sandbox, tmp_path / "registry")
    yield found
    found.process.kill()
    found.process.wait()


def layout(path: Path, *, layers: int = 1, size: int = 0) -> Path:
    """An OCI layout with an image that can be run, in `layers` layers; the others of `size` random
    bytes."""
    import gzip
    import io
    import os
    import tarfile

    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes) -> dict[str, object]:
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"digest": digest(data), "size": len(data)}

    plain = [rootfs_tar(path / "root.tar").read_bytes()]
    for number in range(1, layers):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(f"random{number}")
            member.size = size
            tar.addfile(member, io.BytesIO(os.urandom(size)))
        plain.append(buffer.getvalue())
    rootfs = {"type": "layers", "diff_ids": [digest(data) for data in plain]}
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
              "rootfs": rootfs}  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   **blob(json.dumps(config).encode())},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    **blob(gzip.compress(data, 1))} for data in plain],
    }  # fmt: skip
    entry = {"mediaType": MANIFEST, **blob(json.dumps(manifest).encode()),
             "annotations": {"org.opencontainers.image.ref.name": "1"}}  # fmt: skip
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return path


def test_a_missing_image_is_pulled_by_up_and_has_the_digest_that_skopeo_sees(
    stack: Stack, server: Server, tmp_path: Path
) -> None:
    server.copy(f"oci:{layout(tmp_path / 'app')}:1", f"docker://{HOST}/app:1")
    stack.write(FILE)
    done = stack("-p", stack.name, "up")
    assert f"Image {HOST}/app:1 Pulled" in done.stderr
    assert stack.logs("--no-log-prefix") == ["from tar"]
    again = stack("-p", stack.name, "up", "-d")
    assert "Pull" not in again.stderr
    pinned = stack("config", "--resolve-image-digests").stdout
    assert f"{HOST}/app:1@{server.digest('app:1')}" in pinned


def has_begun(process: subprocess.Popen[str], images: Path, layers: int) -> bool:
    """Whether a pull has ended, or so many of its layers are on their way."""
    directory = images / "downloads"
    return process.poll() is not None or (
        directory.exists() and len(list(directory.iterdir())) >= layers)


def test_a_pull_that_is_killed_anywhere_is_continued_by_the_next(
    stack: Stack, server: Server, tmp_path: Path
) -> None:
    source = layout(tmp_path / "app", layers=4, size=6_000_000)
    server.copy(f"oci:{source}:1", f"docker://{HOST}/app:1")
    stack.write(FILE)
    images = stack.sandbox.directory / "data" / "images"
    for wanted in (1, 2, 3):
        process = stack.start("pull")
        eventually(partial(has_begun, process, images, wanted), timeout=60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        rows = stack("images", "--all", "--quiet").stdout.split()
        assert all(len(stack("run", "--rm", "-T", "s").stdout) == 8 for _ in rows)
    stack("pull", "--policy", "missing")
    assert stack("run", "--rm", "-T", "s").stdout == "from tar"
    assert list((images / "downloads").iterdir()) == []
    assert list((images / "tmp").iterdir()) == []


def test_two_commands_that_pull_the_same_image_do_the_work_once(
    stack: Stack, server: Server, tmp_path: Path
) -> None:
    server.copy(f"oci:{layout(tmp_path / 'app', layers=3, size=2_000_000)}:1",
                f"docker://{HOST}/app:1")  # fmt: skip
    stack.write(FILE)
    running = [stack.start("pull") for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    images = stack.sandbox.directory / "data" / "images"
    assert len(list((images / "l").iterdir())) == 3
    assert list((images / "downloads").iterdir()) == []


def test_what_the_policy_says_decides_whether_the_registry_is_asked(
    stack: Stack, server: Server, tmp_path: Path
) -> None:
    server.copy(f"oci:{layout(tmp_path / 'app')}:1", f"docker://{HOST}/app:1")
    file = FILE.replace("}", ", pull_policy: %s}", 1)
    stack.write(file % "never")
    done = stack("-p", stack.name, "up", "-d", ok=False)
    assert done.returncode == 1
    assert "no image" in done.stderr
    for policy, flag, is_asked in (
        ("missing", "", True), ("daily", "", False), ("always", "", True),
        ("always", "never", False),
    ):  # fmt: skip
        stack.write(file % policy)
        done = stack("-p", stack.name, "create", *(["--pull", flag] if flag else []))
        assert ("Pulled" in done.stderr) is is_asked, (policy, flag, done.stderr)


def test_what_is_pushed_is_the_same_for_skopeo_and_comes_back_with_its_digests(
    stack: Stack, server: Server, tmp_path: Path
) -> None:
    rootfs_tar(stack.directory / "root.tar")
    stack.write("FROM scratch\nADD root.tar /\nCOPY compose.yaml /etc/marker\n", "Dockerfile")
    stack.write(BUILT)
    stack("build")
    done = stack("push")
    assert f"Image {HOST}/app:1 Pushed" in done.stderr
    assert server.digest("app:1") == server.digest("copy:2")
    server.copy(f"docker://{HOST}/app:1", f"oci:{tmp_path / 'out'}:1")
    document = json.loads(server.skopeo("inspect", "--raw", f"oci:{tmp_path / 'out'}:1"))
    (built,) = {row.split()[-1] for row in stack("images", "--all", "--quiet").stdout.splitlines()}
    assert document["config"]["digest"] == f"sha256:{built}"
    assert document["mediaType"] == MANIFEST
    before = server.digest("app:1")
    shutil.rmtree(stack.sandbox.directory / "data" / "images")
    stack.write(FILE)
    stack("pull")
    assert stack("images", "--all", "--quiet").stdout.split() == [built]
    assert "services" in stack("run", "--rm", "-T", "s").stdout
    stack.write(FILE.replace("}", ", build: .}", 1))
    stack("push")
    assert server.digest("app:1") == before


def test_a_build_pulls_its_base_and_newer_ones_when_told_to_and_pushes(
    stack: Stack, server: Server, tmp_path: Path
) -> None:
    server.copy(f"oci:{layout(tmp_path / 'one')}:1", f"docker://{HOST}/base:1")
    stack.write(f"FROM {HOST}/base:1\nCOPY compose.yaml /etc/marker\n", "Dockerfile")
    stack.write(BUILT)
    assert f"Image {HOST}/base:1 Pulled" in stack("build").stderr
    first = stack("build", "-q").stdout
    server.copy(f"oci:{layout(tmp_path / 'two', layers=2)}:1", f"docker://{HOST}/base:1")
    assert "Pull" not in stack("build").stderr
    assert stack("build", "-q").stdout == first
    done = stack("build", "--pull", "--push")
    assert f"Image {HOST}/base:1 Pulled" in done.stderr
    assert stack("build", "-q").stdout != first
    assert server.digest("app:1") == server.digest("copy:2")
    stack.write(f"FROM {HOST}/bose:1\n", "Dockerfile")
    failed = stack("build", ok=False).stderr
    assert f"Dockerfile:1:1: no such image: {HOST}/bose:1" in failed
    assert f"did you mean {HOST}/base:1?" in failed


@pytest.mark.parametrize(
    ("to", "source"),
    [("type=inline", f"{HOST}/app:1"), (f"type=registry,ref={HOST}/cache:1,mode=max",
                                        f"type=registry,ref={HOST}/cache:1")],
)  # fmt: skip
def test_a_cache_comes_from_the_registry_of_another_machine(
    stack: Stack, server: Server, to: str, source: str
) -> None:
    rootfs_tar(stack.directory / "root.tar")
    stack.write("FROM scratch\nADD root.tar /\nRUN echo built > /etc/marker\n", "Dockerfile")
    build = f"build: {{context: ., cache_to: ['{to}'], cache_from: ['{source}']}}"
    stack.write(FILE.replace("}", f", {build}}}", 1))
    assert stack("build", "--push").stderr.count("DONE") == 2
    before = server.digest("app:1")
    shutil.rmtree(stack.sandbox.directory / "data" / "images")
    again = stack("build", "--push").stderr
    assert (again.count("DONE"), again.count("CACHED")) == (0, 2)
    assert server.digest("app:1") == before
    assert stack("run", "--rm", "-T", "s").stdout == "built\n"
    assert "cache" not in stack("images", "-a").stdout


def test_docker_s_own_formats_are_pulled_and_pushed_as_they_are(
    stack: Stack, server: Server, tmp_path: Path
) -> None:
    server.skopeo("copy", "--format", "v2s2", "--dest-tls-verify=false",
                  f"oci:{layout(tmp_path / 'app')}:1", f"docker://{HOST}/app:1")
    raw = server.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{HOST}/app:1")
    assert "vnd.docker.distribution.manifest.v2+json" in raw
    stack.write(FILE)
    assert stack("run", "--rm", "-T", "s").stdout == "from tar"
    image = stack("images", "--all", "--quiet").stdout.strip()
    stack("image", "tag", image, f"{HOST}/copy:2")
    stack("image", "push", f"{HOST}/copy:2")
    assert server.digest("copy:2") == server.digest("app:1")
    stack("image", "pull", f"{HOST}/copy:2")
    found = stack("search", f"{HOST}/app").stdout
    assert f"{HOST}/app" in found
    assert "copy" not in found


HTPASSWD = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
"""The password is `secret`, by bcrypt."""


def test_who_is_not_known_may_do_nothing_until_logging_in(
    stack: Stack, sandbox: Sandbox, tmp_path: Path
) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_text(HTPASSWD)
    server = start(sandbox, tmp_path / "registry",
                   f"auth: {{htpasswd: {{realm: test, path: {passwords}}}}}")
    try:
        sandbox.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
        stack.write(FILE)
        done = stack("pull", ok=False)
        assert f"pcompose login {HOST}" in done.stderr
        login = ("login", "-u", "me", "--password-stdin", HOST)
        done = stack(*login, input="wrong\n", ok=False)
        assert "401" in done.stderr
        assert not (tmp_path / "docker").exists()
        assert stack(*login, input="secret\n").stdout == "Login Succeeded\n"
        assert "manifest unknown" in stack("pull", ok=False).stderr
        server.skopeo("copy", "--authfile", str(tmp_path / "docker" / "config.json"),
                      "--dest-tls-verify=false", f"oci:{layout(tmp_path / 'app')}:1",
                      f"docker://{HOST}/app:1")  # what we have kept is good for others
        stack("pull")
        stack("logout", HOST)
        assert f"pcompose login {HOST}" in stack("pull", ok=False).stderr
    finally:
        server.process.kill()
        server.process.wait()


def test_a_registry_out_of_reach_is_told_with_the_place_and_leaves_nothing(stack: Stack) -> None:
    stack.write(FILE)
    done = stack("-p", stack.name, "up", "-d", ok=False)
    assert done.returncode == 1
    assert f"compose.yaml:2:7: cannot pull {HOST}/app:1: cannot reach http://{HOST}" in done.stderr
    assert stack.ps() == {}
    stack.write("services:\n  s: {image: 'app:1'}\n")
    done = stack("-p", stack.name, "pull", ok=False)
    assert "cannot reach https://registry-1.docker.io: there is no such host" in done.stderr


def test_a_published_application_is_brought_up_elsewhere_with_its_images(
    stack: Stack, server: Server, tmp_path: Path
) -> None:
    server.copy(f"oci:{layout(tmp_path / 'app')}:1", f"docker://{HOST}/app:1")
    stack.write("LEVEL=debug\n", "web.env")
    command = "[/bin/sh, -c, 'echo $$LEVEL $$(cat /etc/marker)']"
    stack.write(f"services:\n  s: {{image: '{HOST}/app:1', env_file: web.env,\n"
                f"      command: {command}}}\n")  # fmt: skip
    refused = stack("publish", "-y", f"{HOST}/team/shop:2", ok=False).stderr
    assert "compose.yaml:2" in refused
    assert "--with-env" in refused
    stack("publish", "-y", "--with-env", "--app", "--resolve-image-digests", f"{HOST}/team/shop:2")
    manifest = json.loads(server.skopeo("inspect", "--raw", "--tls-verify=false",
                                        f"docker://{HOST}/team/shop:2"))  # fmt: skip
    assert manifest["artifactType"] == "application/vnd.docker.compose.project"
    assert server.digest(f"team/shop@{server.digest('app:1')}") == server.digest("app:1")
    (stack.directory / "compose.yaml").unlink()
    url = f"oci://{HOST}/team/shop:2"
    try:
        assert "debug from tar" in stack("-f", url, "up", "--no-log-prefix").stdout.splitlines()
        assert "shop" in stack("ls", "-a").stdout
        assert f"@{server.digest('app:1')}" in stack("-f", url, "config").stdout
    finally:
        stack("-f", url, "down")
    stack.write(f"include: ['{url}']\n")
    done = stack("-p", stack.name, "up", "-d", input="n\n", ok=False)
    assert "operation cancelled" in done.stderr
    assert stack.ps() == {}
    stack("-p", stack.name, "up", "-y", "-d")
