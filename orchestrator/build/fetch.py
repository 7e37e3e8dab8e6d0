"""What ADD and contexts bring from elsewhere: files over HTTP, and git repositories.

Fetched into a directory of the store's scratch space; the digest of what came decides on the cache.
Only http, https, ssh and git are spoken: a Dockerfile must not reach local files this way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from orchestrator.build.fault import Place, fault
from orchestrator.build.tree import Tree
from orchestrator.dataclass import dataclass
from orchestrator.errors import BuildError
from orchestrator.image import digest
from orchestrator.image.store import ImageStore

_TIMEOUT = 60.0
_CHUNK = 1 << 20
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_GIT = re.compile(r"(?:git@[\w.-]+:|(?:https?|ssh|git)://)[^#\s]+?(?:\.git)?")
_REVISION = re.compile(r"[\w./-]*", re.ASCII)


def is_remote(source: str) -> bool:
    """Whether ADD has to fetch the source."""
    return source.startswith(("http://", "https://")) or is_git(source)


def is_git(source: str) -> bool:
    """Whether the source is a repository."""
    address = source.partition("#")[0]
    return address.startswith(("git@", "ssh://", "git://")) or (
        address.startswith(("http://", "https://")) and address.endswith(".git"))


@dataclass(slots=True, kw_only=True)
class Fetched:
    """One remote source, fetched when it is first needed."""

    place: Place
    url: str
    store: ImageStore
    checksum: str = ""
    keep_git_dir: bool = False
    keyword: str = "ADD"
    """Who asked for it; errors begin with that."""
    _directory: str = ""
    _content: str = ""

    def _fault(self, message: str, *, hint: str | None = None) -> BuildError:
        return fault(self.place, f"{self.keyword}: {message}", hint=hint)

    def check_name(self) -> None:
        """BuildError where a target that is a directory would not know what to call the file."""
        if not is_git(self.url) and self._stored_name() == "file":
            raise self._fault(f"{self.url} has no file name",
                        hint="name the file in the destination")

    def _stored_name(self) -> str:
        from urllib.parse import unquote, urlsplit

        name = os.path.basename(unquote(urlsplit(self.url).path))
        return "file" if name in ("", ".", "..") or "\0" in name else name

    def source(self) -> str:
        """What is copied out of the tree."""
        return "/" if is_git(self.url) else f"/{self._stored_name()}"

    def close(self) -> None:
        """Let go of what was fetched."""
        if self._directory:
            self.store.discard(self._directory)
            self._directory = ""

    def described(self) -> dict[str, str]:
        """What counts for the cache."""
        if self.checksum:
            if not _CHECKSUM.fullmatch(self.checksum) and not is_git(self.url):
                raise self._fault(f"`{self.checksum}` is no checksum",
                            hint="sha256: and 64 hexadecimal digits, or sha512: and 128")
            return {self.url: self.checksum}
        if is_git(self.url):
            return {self.url: f"{self._commit()} {self.keep_git_dir}"}
        self._fetch()
        return {self.url: self._content}

    @contextmanager
    def open(self) -> Iterator[Tree]:
        """The file, or the repository's files, as a tree."""
        root = os.open(self.directory(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield Tree(root, name=self.url, keeps_owners=False)
        finally:
            os.close(root)

    def directory(self) -> str:
        """Where the file, or the repository's files, lie until `close`."""
        self._fetch()
        return f"{self._directory}/content"

    def _fetch(self) -> None:
        if self._directory:
            return
        self._directory = self.store.scratch()
        os.mkdir(f"{self._directory}/content", 0o755)
        if is_git(self.url):
            self._clone()
        else:
            self._download()

    # ---- HTTP ----

    def _download(self) -> None:
        from http.client import HTTPException
        from urllib.request import Request, urlopen

        name = f"{self._directory}/content/{self._stored_name()}"
        try:
            asked = Request(self.url, headers={"User-Agent": "pcompose"})
            with urlopen(asked, timeout=_TIMEOUT) as answer, open(name, "wb") as file:
                hashed = sha256()
                while data := answer.read(_CHUNK):
                    hashed.update(data)
                    file.write(data)
                modified = answer.headers.get("Last-Modified", "")
        except (OSError, ValueError, HTTPException) as exc:
            raise self._fault(f"cannot fetch {self.url}: {exc}") from exc
        self._content = f"sha256:{hashed.hexdigest()}"
        found = self._content
        if self.checksum.startswith("sha512:"):
            found = digest.of_file(name, algorithm="sha512")
        if self.checksum and found != self.checksum:
            raise self._fault(f"{self.url} is not what was expected: it is {found}, "
                              f"not {self.checksum}")
        os.chmod(name, 0o600)
        os.utime(name, (0, _time(modified)))

    # ---- git ----

    def _commit(self) -> str:
        address, revision, _ = self._parts()
        out = self._git("ls-remote", address, revision or "HEAD")
        found = out.split()
        if found:
            return found[0]
        if re.fullmatch(r"[0-9a-f]{40,64}", revision):
            return revision
        raise self._fault(f"{address} has no `{revision}`")

    def _parts(self) -> tuple[str, str, str]:
        """(address, revision, directory inside)."""
        address, _, fragment = self.url.partition("#")
        revision, _, inside = fragment.partition(":")
        if not _GIT.fullmatch(address) or not _REVISION.fullmatch(revision) or (
                revision.startswith("-")):
            raise self._fault(f"`{self.url}` is no address of a repository")
        return address, revision, inside.strip("/")

    def _clone(self) -> None:
        address, revision, inside = self._parts()
        work = f"{self._directory}/repository"
        self._git("init", "--quiet", work)
        self._git("-C", work, "remote", "add", "origin", address)
        self._git("-C", work, "fetch", "--quiet", "--depth=1", "origin", revision or "HEAD")
        self._git("-C", work, "checkout", "--quiet", "FETCH_HEAD")
        if os.path.lexists(f"{work}/.gitmodules"):
            self._git("-C", work, "submodule", "--quiet", "update", "--init", "--recursive",
                      "--depth=1")
        commit = self._git("-C", work, "rev-parse", "HEAD").strip()
        if self.checksum and not commit.startswith(self.checksum):
            raise self._fault(f"{self.url} is at {commit}, not {self.checksum}")
        if not self.keep_git_dir:
            _forget_git(work)
        chosen = os.path.realpath(f"{work}/{inside}")
        if not os.path.isdir(chosen) or not f"{chosen}/".startswith(os.path.realpath(work) + "/"):
            raise self._fault(f"{address} has no directory `{inside}`")
        os.rmdir(f"{self._directory}/content")
        os.rename(chosen, f"{self._directory}/content")

    def _git(self, *words: str) -> str:
        import subprocess

        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0",
                       "GIT_ALLOW_PROTOCOL": "http:https:ssh:git"}
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, check=False,
                                  env=environment, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise self._fault("git is not installed on this machine") from None
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise self._fault(f"git {words[0]} of {self.url} failed: "
                        + (said[-1] if said else f"exit code {done.returncode}"))
        return done.stdout


def _forget_git(work: str) -> None:
    """Remove the repository, and what in submodules points to it."""
    import shutil

    shutil.rmtree(f"{work}/.git")
    for directory, _, files in os.walk(work):
        if ".git" in files:
            os.unlink(f"{directory}/.git")


def _time(text: str) -> float:
    """Seconds since the epoch of an HTTP date; 0 where there is none."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0


