"""Names and passwords for registries, where docker keeps them: `config.json` and its helpers.

$DOCKER_CONFIG/config.json (else ~/.docker/config.json): `auths`, `credHelpers`, `credsStore`.  A
helper is a program `docker-credential-NAME` that keeps secrets elsewhere.  Of what is in the file
and not ours, nothing is lost.  Who the registry is asked is not known here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import RegistryError
from orchestrator.image.reference import DEFAULT_DOMAIN

HUB_KEY = "https://index.docker.io/v1/"
"""Under which docker keeps what is for docker.io."""
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_TIMEOUT = 60.0
_TOKEN_USER = "<token>"
_LARGEST = 4 << 20
Json = dict[str, Any]  # JSON has no narrower type


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What proves who we are; either a name and a password, or a token that stands for both."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def host_of(key: str) -> str:
    """The host that an entry of the file is for: they are written in many ways."""
    rest = key.partition("://")[2] or key
    host = rest.partition("/")[0].lower()
    return DEFAULT_DOMAIN if host in _HUB_NAMES else host


class CredentialFile:
    """One user's configuration; read again for every question, because others write it too."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        directory = environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        self.path = f"{directory}/config.json"

    def find(self, host: str) -> Credentials | None:
        """What is known for a registry (`docker.io`, `ghcr.io`, `localhost:5000`)."""
        root = self._read()
        helper = self._helper(root, host)
        if helper:
            found = self._ask(helper, host)
            if found is not None:
                return found
        for key, entry in _members(root.get("auths")).items():
            if host_of(key) == host_of(host) and isinstance(entry, dict):
                found = _entry(entry, self.path, key)
                if found is not None:
                    return found
        return None

    def helper(self, host: str) -> str:
        """The helper that keeps what is for a registry; empty: the file does."""
        return self._helper(self._read(), host)

    def save(self, host: str, credentials: Credentials) -> None:
        """Keep it, with the helper where one is named."""
        root = self._read()
        helper, key = self._helper(root, host), _key(host)
        if helper:
            user = credentials.user if not credentials.identity_token else _TOKEN_USER
            secret = credentials.identity_token or credentials.password
            self._run(helper, "store", json.dumps(
                {"ServerURL": key, "Username": user, "Secret": secret}))
            return
        entry = {"auth": b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()}
        if credentials.identity_token:
            entry = {"auth": b64encode(f"{credentials.user}:".encode()).decode(),
                     "identitytoken": credentials.identity_token}  # fmt: skip
        auths = _members(root.get("auths"))
        kept = {k: v for k, v in auths.items() if host_of(k) != host_of(host)}
        self._write({**root, "auths": {**kept, key: entry}})

    def erase(self, host: str) -> bool:
        """Forget it; False where nothing was known."""
        root = self._read()
        helper = self._helper(root, host)
        was_known = self.find(host) is not None
        if helper and was_known:
            self._run(helper, "erase", _key(host))
        auths = _members(root.get("auths"))
        kept = {k: v for k, v in auths.items() if host_of(k) != host_of(host)}
        if kept != auths:
            self._write({**root, "auths": kept})
        return was_known

    # ---- helpers ----

    def _helper(self, root: Json, host: str) -> str:
        for key, name in _members(root.get("credHelpers")).items():
            if host_of(key) == host_of(host):
                return str(name)
        return str(root.get("credsStore") or "")

    def _ask(self, helper: str, host: str) -> Credentials | None:
        text = self._run(helper, "get", _key(host))
        if text is None:
            return None
        try:
            answer = json.loads(text)
            user, secret = str(answer["Username"]), str(answer["Secret"])
        except (ValueError, KeyError, TypeError) as exc:
            raise RegistryError(f"docker-credential-{helper} answered no credentials") from exc
        if user == _TOKEN_USER:
            return Credentials(identity_token=secret)
        return Credentials(user=user, password=secret)

    def _run(self, helper: str, verb: str, text: str) -> str | None:
        """Output of the helper; None: it has nothing for that."""
        if not _HELPER.fullmatch(helper):
            raise RegistryError(f"{self.path} names the helper {helper!r}, which is no program")
        program = f"docker-credential-{helper}"
        try:
            done = subprocess.run(
                [program, verb], input=text, capture_output=True, text=True, check=False,
                timeout=_HELPER_TIMEOUT, env=self._environ,
            )  # fmt: skip
        except FileNotFoundError as exc:
            raise RegistryError(f"{self.path} names the helper {helper}, but there is no {program}",
                                hint="install it, or take its name out of the file") from exc
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise RegistryError(f"{program} {verb} cannot be run: {exc}") from exc
        if done.returncode == 0:
            return done.stdout
        said = (done.stdout or done.stderr).strip()
        if verb != "store" and ("not found" in said or "no credentials" in said):
            return None
        raise RegistryError(f"{program} {verb} failed: {said[:300] or done.returncode}")

    # ---- the file ----

    def _read(self) -> Json:
        try:
            with open(self.path, "rb") as file:
                data = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise RegistryError(f"cannot read {self.path}: {exc.strerror}") from exc
        try:
            root = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise RegistryError(f"{self.path} is no valid JSON: {str(exc)[:200]}") from exc
        if not isinstance(root, dict):
            raise RegistryError(f"{self.path} is no JSON object")
        return root

    def _write(self, root: Json) -> None:
        path = os.path.realpath(self.path)  # people keep it elsewhere by a link
        temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                file.write(json.dumps(root, indent="\t") + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except OSError as exc:
            raise RegistryError(f"cannot write {self.path}: {exc.strerror}") from exc


def _key(host: str) -> str:
    return HUB_KEY if host_of(host) == DEFAULT_DOMAIN else host


def _members(value: Any) -> Json:  # as the file has it
    return value if isinstance(value, dict) else {}


def _entry(entry: Json, path: str, key: str) -> Credentials | None:
    token = entry.get("identitytoken")
    if token:
        return Credentials(identity_token=str(token))
    if entry.get("username"):
        return Credentials(user=str(entry["username"]), password=str(entry.get("password", "")))
    if not entry.get("auth"):
        return None
    try:
        user, colon, password = b64decode(str(entry["auth"])).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise RegistryError(f"{path}: auths.{key}.auth is no base64 of name:password",
                            hint=f"log in again: pcompose login {key}")  # fmt: skip
    return Credentials(user=user, password=password.rstrip("\0"))
