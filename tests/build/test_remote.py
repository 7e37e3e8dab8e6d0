"""Contexts from elsewhere: repositories and archives of servers on the loopback interface."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.build.fault import Place
from orchestrator.build.fetch import Fetched
from orchestrator.build.remote import Remotes, is_remote
from orchestrator.errors import BuildError
from orchestrator.image import digest
from orchestrator.image.store import ImageStore
from tests.image.archives import layer

pytestmark = pytest.mark.kernel
FILES = layer(("Dockerfile", b"FROM scratch\nCOPY x /\n"), ("x", b"content"))


@pytest.fixture
def remotes(tmp_path: Path) -> Iterator[Remotes]:
    store = ImageStore(str(tmp_path / "images"))
    with store.adding():
        made = Remotes(store=store)
        yield made
        made.close()
        assert os.listdir(f"{store.root}/tmp") == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and its address over HTTP."""
    directory = tmp_path / "served"
    directory.mkdir()
    handler = partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield directory, f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_an_archive_is_a_context(remotes: Remotes, server: tuple[Path, str]) -> None:
    directory, address = server
    (directory / "app.tar.gz").write_bytes(FILES)
    found = Path(remotes.directory(f"{address}/app.tar.gz"))
    assert (found / "x").read_text() == "content"
    assert remotes.directory(f"{address}/app.tar.gz") == str(found), "it is fetched once"


def test_another_file_is_a_dockerfile(remotes: Remotes, server: tuple[Path, str]) -> None:
    directory, address = server
    (directory / "web.docker").write_text("FROM scratch\n")
    found = Path(remotes.directory(f"{address}/web.docker"))
    assert [(p.name, p.read_text()) for p in found.iterdir()] == [("Dockerfile", "FROM scratch\n")]


def test_what_is_not_there_is_told(remotes: Remotes, server: tuple[Path, str]) -> None:
    with pytest.raises(BuildError, match=r"cannot fetch http://127.*/none: HTTP Error 404"):
        remotes.directory(f"{server[1]}/none")
    (server[0] / "bad.tar").write_bytes(FILES[:700])
    with pytest.raises(BuildError, match=r"bad.tar: .*early"):
        remotes.directory(f"{server[1]}/bad.tar")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_is_added_has_the_checksum_that_was_expected(
    remotes: Remotes, server: tuple[Path, str], algorithm: str
) -> None:
    (server[0] / "f").write_bytes(b"content")
    right = digest.of_bytes(b"content", algorithm=algorithm)
    wrong = digest.of_bytes(b"other", algorithm=algorithm)
    place = Place(file="Dockerfile", line=3, column=1)
    for checksum in (right, wrong):
        fetched = Fetched(place=place, url=f"{server[1]}/f", store=remotes.store,
                          checksum=checksum)  # fmt: skip
        try:
            if checksum == right:
                assert Path(fetched.directory(), "f").read_bytes() == b"content"
                continue
            with pytest.raises(BuildError, match=f"Dockerfile:3:1: ADD: .*it is {right}, not"):
                fetched.directory()
        finally:
            fetched.close()


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """The address of a repository with two branches."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    work, other = tmp_path / "repositories" / "app", tmp_path / "repositories" / "other"
    for directory in (work, other):
        directory.mkdir(parents=True)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for name in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{name}_NAME": "a", f"GIT_{name}_EMAIL": "a@b"}
    git = partial(subprocess.run, check=True, capture_output=True, env=environment, cwd=work)
    git(["git", "init", "-q", "-b", "main"])
    for branch, text in (("main", "of main"), ("other", "of other")):
        if branch != "main":
            git(["git", "checkout", "-q", "-b", branch])
        (work / "web").mkdir(exist_ok=True)
        (work / "web" / "Dockerfile").write_text(f"# {text}\nFROM scratch\n")
        git(["git", "add", "."])
        git(["git", "commit", "-q", "-m", branch])
    git(["git", "init", "-q", "-b", "main"], cwd=other)
    (other / "of-other").write_text("content")
    git(["git", "add", "."], cwd=other)
    git(["git", "commit", "-q", "-m", "one"], cwd=other)
    git(["git", "checkout", "-q", "-b", "with-module", "main"])
    git(["git", "-c", "protocol.file.allow=always", "submodule", "add", "-q", "../other", "mod"])
    git(["git", "commit", "-q", "-m", "module"])
    git(["git", "checkout", "-q", "main"])
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    daemon = subprocess.Popen(
        ["git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", "--export-all",
         f"--base-path={tmp_path}/repositories"], stderr=subprocess.PIPE, env=environment,
        start_new_session=True)  # fmt: skip
    _until_it_listens(daemon, port)
    yield f"git://127.0.0.1:{port}/app"
    os.killpg(daemon.pid, 15)  # git is the parent of the daemon
    daemon.communicate()


def _until_it_listens(daemon: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(500):
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert daemon.poll() is None
        threading.Event().wait(0.02)
    raise AssertionError("git daemon does not listen")


@pytest.mark.parametrize(
    ("fragment", "file", "text"),
    [("", "web/Dockerfile", "of main"), ("#other", "web/Dockerfile", "of other"),
     ("#other:web", "Dockerfile", "of other"), ("#:web", "Dockerfile", "of main")],
)  # fmt: skip
def test_a_repository_is_a_context(
    remotes: Remotes, repository: str, fragment: str, file: str, text: str
) -> None:
    found = Path(remotes.directory(repository + fragment))
    assert text in (found / file).read_text()
    assert not (found / ".git").exists()


def added(remotes: Remotes, url: str, **said: Any) -> Fetched:
    return Fetched(place=Place(file="D", line=2, column=1), url=url, store=remotes.store, **said)


def test_modules_of_a_repository_come_with_it(remotes: Remotes, repository: str) -> None:
    found = Path(remotes.directory(f"{repository}#with-module"))
    assert (found / "mod/of-other").read_text() == "content"
    assert not list(found.rglob(".git"))


def test_add_keeps_the_repository_where_it_is_told_to(remotes: Remotes, repository: str) -> None:
    for is_kept in (False, True):
        fetched = added(remotes, repository, keep_git_dir=is_kept)
        found = Path(fetched.directory())
        assert (found / ".git").is_dir() is is_kept
        assert (found / "web/Dockerfile").is_file()
        fetched.close()


def test_a_repository_is_known_by_its_commit(remotes: Remotes, repository: str) -> None:
    [commit] = added(remotes, repository).described().values()
    [other] = added(remotes, f"{repository}#other").described().values()
    assert commit != other
    right = added(remotes, repository, checksum=commit.split()[0][:12])
    assert Path(right.directory(), "web").is_dir()
    right.close()
    wrong = added(remotes, repository, checksum=other.split()[0])
    with pytest.raises(BuildError, match=f"D:2:1: ADD: .* is at {commit.split()[0]}, not"):
        wrong.directory()
    wrong.close()


@pytest.mark.parametrize("fragment", ["#nothing", "#main:../..", "#main:none", "#--upload-pack=x"])
def test_what_a_repository_has_not_is_told(
    remotes: Remotes, repository: str, fragment: str
) -> None:
    with pytest.raises(BuildError):
        remotes.directory(repository + fragment)


def test_what_is_remote_is_known_by_its_beginning() -> None:
    remote = ["https://a/b.git#c", "github.com/a/b", "git@a:b", "http://a/b.tar", "ssh://a/b"]
    assert [is_remote(text) for text in remote] == [True] * len(remote)
    assert not any(map(is_remote, ["/a", "./github.com", "file:///a"]))
