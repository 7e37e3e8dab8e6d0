"""How one proves to a registry who one is: its challenges, and tokens of its token server.

RFC 7235 (WWW-Authenticate), and the token protocol of the distribution project (auth/token.md and
auth/oauth.md there).  A password goes to the server that the registry names, never without TLS
where the registry itself has it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import IO
from urllib.parse import urlencode, urlsplit

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import RegistryError
from orchestrator.image import document
from orchestrator.image.registry.credentials import Credentials
from orchestrator.image.registry.proxies import is_loopback, split_host
from orchestrator.image.registry.transport import Request, Response, Transport

CLIENT_ID = "pcompose"
_LEAST_LIFE = 60.0
"""Seconds a token is good for where the server says nothing or less."""
_LARGEST = 1 << 20
_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*(?:,|$)')
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z0-9-]+)(?:\s+|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a registry wants to be shown."""

    scheme: str
    """Lower case: `bearer`, `basic`."""
    parameters: dict[str, str] = field(default_factory=dict)


class Form:
    """A small body."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def open(self) -> IO[bytes]:
        """The data from its beginning."""
        return BytesIO(self._data)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge of the WWW-Authenticate headers; what makes no sense is left out."""
    found: list[Challenge] = []
    for header in headers:
        position = 0
        while scheme := _SCHEME.match(header, position):
            position = scheme.end()
            parameters = {}
            while parameter := _PARAMETER.match(header, position):
                name, quoted, plain = parameter.groups()
                value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                parameters[name.lower()] = value
                position = parameter.end()
            found.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return found


@dataclass(slots=True, kw_only=True)
class _Token:
    value: str
    expires: float
    """On the monotonic clock."""


class Authorizer:
    """The Authorization headers for one registry, for any number of threads."""

    def __init__(
        self, transport: Transport, *, host: str, is_secure: bool,
        find: Callable[[], Credentials | None],
    ) -> None:
        self._transport, self._host, self._is_secure = transport, host, is_secure
        self._find = find
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._credentials: Credentials | None = None
        self._is_asked = False

    def headers(self, scopes: tuple[str, ...]) -> dict[str, str]:
        """What is known to be wanted for this; empty before the first challenge."""
        with self._lock:
            if self._challenge is None:
                return {}
            return self._answer(self._challenge, scopes)

    def learn(self, response: Response, scopes: tuple[str, ...], *, sent: bool) -> bool:
        """Take the challenge of a 401; False where there is no answer to it, as where the password
        was `sent` already."""
        challenges = {c.scheme: c for c in parse_challenges(response.headers("WWW-Authenticate"))}
        challenge = challenges.get("bearer") or challenges.get("basic")
        if challenge is None:
            return False
        with self._lock:
            self._challenge = challenge
            self._tokens.pop(scopes, None)  # it may have run out earlier than was said
            if challenge.scheme == "basic":
                return not sent and self._known() is not None
            return True

    def _known(self) -> Credentials | None:
        """Asked for once: a helper is a program to be run."""
        if not self._is_asked:
            self._credentials, self._is_asked = self._find(), True
        return self._credentials

    def _answer(self, challenge: Challenge, scopes: tuple[str, ...]) -> dict[str, str]:
        credentials = self._known()
        if challenge.scheme == "basic":
            return {"Authorization": credentials.basic} if credentials else {}
        token = self._tokens.get(scopes)
        if token is None or token.expires < time.monotonic():
            token = self._tokens[scopes] = self._fetch(challenge, scopes, credentials)
        return {"Authorization": f"Bearer {token.value}"}

    # ---- token servers ----

    def _fetch(
        self, challenge: Challenge, scopes: tuple[str, ...], credentials: Credentials | None
    ) -> _Token:
        realm = challenge.parameters.get("realm", "")
        self._check_realm(realm)
        began = time.monotonic()
        request = self._request(realm, challenge.parameters.get("service", ""), scopes, credentials)
        with self._transport.send(request) as response:
            if response.status != 200:
                raise self._refusal(response, realm)
            root = document.parse(response.document(largest=_LARGEST),
                                  what=f"the answer of {response.host}", largest=_LARGEST)
        value = root.get("token").text("") or root.get("access_token").text("")
        if not value or not value.isascii() or not value.isprintable():
            raise RegistryError(f"{response.host} answered without a token")
        life = max(_LEAST_LIFE, float(root.get("expires_in").number(0)))
        return _Token(value=value, expires=began + life * 0.9)

    def _check_realm(self, realm: str) -> None:
        try:
            parts = urlsplit(realm)
            name, _ = split_host(parts.netloc, default=0)
        except ValueError:
            name = ""
        if not name or parts.scheme not in ("http", "https"):
            raise RegistryError(f"{self._host} names no token server: {realm[:200]!r}")
        if self._is_secure and parts.scheme == "http" and not is_loopback(name):
            raise RegistryError(f"{self._host} wants passwords to be sent to {realm[:200]} in the "
                                "open, which is refused")  # fmt: skip

    def _request(
        self, realm: str, service: str, scopes: tuple[str, ...], credentials: Credentials | None
    ) -> Request:
        if credentials is not None and credentials.identity_token:
            form = {"grant_type": "refresh_token", "service": service, "client_id": CLIENT_ID,
                    "scope": " ".join(scopes), "refresh_token": credentials.identity_token}
            return Request(method="POST", url=realm, body=Form(urlencode(form).encode()), headers={
                "Content-Type": "application/x-www-form-urlencoded"})
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        private = {}
        if credentials is not None:
            query += [("account", credentials.user), ("client_id", CLIENT_ID)]
            private["Authorization"] = credentials.basic
        joint = "&" if urlsplit(realm).query else "?"
        url = f"{realm}{joint}{urlencode(query)}" if query else realm
        return Request(method="GET", url=url, private=private)

    def _refusal(self, response: Response, realm: str) -> RegistryError:
        if response.status in (401, 403):
            return RegistryError(
                f"{self._host} does not know these credentials ({response.host} answered "
                f"{response.status})", hint=f"log in again: pcompose login {self._host}",
            )
        return RegistryError(f"no token for {self._host}: {urlsplit(realm).netloc} answered "
                             f"{response.status} {response.reason}")  # fmt: skip

