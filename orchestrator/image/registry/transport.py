"""HTTP requests to registries and token servers; the only user of http.client and ssl.

Owns connections (kept for the next request), TLS, proxies, redirects, and the patience with a
server that is overloaded.  Knows nothing of registries: paths and tokens are others' affair.
A redirect to another host never takes credentials along, nor leads from https to http.
"""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import IO, Protocol
from urllib.parse import urljoin, urlsplit

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import RegistryError
from orchestrator.image.registry import proxies

CONNECT_TIMEOUT = 20.0
"""Seconds until a connection must be there."""
IDLE_TIMEOUT = 60.0
"""Seconds in which a server must say something."""
DOCUMENT_TIMEOUT = 120.0
"""Seconds until a small document must be here whole."""
MOST_REDIRECTS = 5
ATTEMPTS = 5
FIRST_DELAY = 0.5
MOST_DELAY = 60.0
"""Seconds; a server that wants us to wait longer gets its will: the command fails and says so."""
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BLOCK = 1 << 18
"""Bytes of a body that are read from the disk at a time."""
_KEPT = 8
"""Idle connections to one host."""


class Body(Protocol):
    """What is sent: it can be begun again."""

    size: int

    def open(self) -> IO[bytes]:
        """A file at the beginning of the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a host proves who it is."""

    verify: bool = True
    authorities: tuple[str, ...] = ()
    """Files with certificates that are trusted beside the machine's."""
    certificates: tuple[tuple[str, str], ...] = ()
    """(certificate, key) files of ours."""


class UnansweredError(RegistryError):
    """Nobody answered, or the connection was cut before the answer."""


class Response:
    """An answer whose body has not been read; close it."""

    def __init__(
        self, raw: http.client.HTTPResponse, *, url: str, release: Callable[[bool], None]
    ) -> None:
        self._raw, self._release = raw, release
        self.status, self.url = raw.status, url
        self.reason = raw.reason

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def header(self, name: str) -> str:
        """The value of a header, the first of several; empty where there is none."""
        return self._raw.headers.get(name, "")

    def headers(self, name: str) -> list[str]:
        """Every value of a header."""
        return self._raw.headers.get_all(name) or []

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; empty at the end, also where the connection was cut: who knows the
        length has to compare.  OSError."""
        try:
            return self._raw.read1(size)
        except http.client.HTTPException as exc:
            raise ConnectionAbortedError(0, f"what it sent is no HTTP: {exc!r}") from exc

    def document(self, *, largest: int) -> bytes:
        """The whole body, if it has at most `largest` bytes.  RegistryError."""
        try:
            return self._document(largest)
        except OSError as exc:
            raise RegistryError(f"{self.host} did not send all of {self.url}: {_why(exc)}") from exc

    def _document(self, largest: int) -> bytes:
        deadline = time.monotonic() + DOCUMENT_TIMEOUT
        stated = self.header("Content-Length")
        parts: list[bytes] = []
        count = 0
        while data := self.read(1 << 16):
            parts.append(data)
            count += len(data)
            if count > largest:
                raise RegistryError(f"{self.host} sent more than {largest} bytes for {self.url}")
            if time.monotonic() > deadline:
                raise RegistryError(f"{self.host} took more than {DOCUMENT_TIMEOUT:.0f} s to send "
                                    f"{self.url}")  # fmt: skip
        if stated.isdecimal() and int(stated) != count and self._raw.chunked is False:
            raise ConnectionAbortedError(0, f"{count} of {stated} bytes came")
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back if the body was read to its end."""
        is_over = self._raw.isclosed() or self._raw.length == 0
        self._raw.close()  # the connection cannot be asked again before
        self._release(is_over and not self._raw.will_close)

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; `headers` for the host of `url` only are in `private`."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    is_repeatable: bool = True
    """Whether it is sent again when the answer is a fault or none."""


class Transport:
    """Connections to any number of hosts, for any number of threads."""

    def __init__(
        self, *, environ: Mapping[str, str], tls: Callable[[str], Tls], agent: str,
        sleep: Callable[[float], object] | None = None,
    ) -> None:  # fmt: skip
        self._environ, self._tls, self._agent = environ, tls, agent
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._live: set[http.client.HTTPConnection] = set()
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self._reached: set[str] = set()
        """Hosts that have answered: one that falls silent later is given time to come back."""

    def close(self) -> None:
        """End every connection, also those that other threads wait for."""
        with self._lock:
            self._closed.set()
            live = list(self._live)
            idle = [connection for kept in self._idle.values() for connection in kept]
            self._idle.clear()
        for connection in idle:
            connection.close()
        for connection in live:
            _shut(connection)

    def send(self, request: Request) -> Response:
        """The answer, redirects of reading requests followed, whatever its status.  RegistryError
        where there is none."""
        for attempt in range(1, ATTEMPTS + 1):
            is_last = attempt == ATTEMPTS or not request.is_repeatable
            try:
                response = self._follow(request)
            except (OSError, http.client.HTTPException) as exc:
                if is_last or self._closed.is_set() or not self._may_pass(request, exc):
                    raise self._fault(request, exc) from exc
                self._sleep(_delay(attempt))
                continue
            wait = self._patience(response, attempt)
            if is_last or wait is None:
                return response
            response.close()
            self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _patience(self, response: Response, attempt: int) -> float | None:
        """Seconds to wait before asking again; None: the answer counts."""
        if response.status not in _RETRIED:
            return None
        wait = retry_after(response.header("Retry-After"), now=time.time())
        if wait is None:
            return _delay(attempt)
        return wait if wait <= MOST_DELAY else None

    def _may_pass(self, request: Request, exc: Exception) -> bool:
        """Whether the fault may be gone in a moment."""
        if isinstance(exc, ssl.SSLCertVerificationError | ConnectionRefusedError):
            return isinstance(exc, OSError) and self._was_reached(request)
        if isinstance(exc, socket.gaierror):
            return exc.errno == socket.EAI_AGAIN and self._was_reached(request)
        if isinstance(exc, ssl.SSLError) and not self._was_reached(request):
            return False
        if isinstance(exc, TimeoutError):
            return self._was_reached(request)
        return isinstance(exc, ConnectionError | http.client.HTTPException | ssl.SSLError) or (
            self._was_reached(request)
        )

    def _was_reached(self, request: Request) -> bool:
        return urlsplit(request.url).netloc in self._reached

    def _fault(self, request: Request, exc: Exception) -> UnansweredError:
        parts = urlsplit(request.url)
        proxy = proxies.proxy_for(parts.scheme, parts.netloc, self._environ)
        through = f" through the proxy {proxy}" if proxy else ""
        what = f"cannot reach {parts.scheme}://{parts.netloc}{through}: {_why(exc)}"
        return UnansweredError(what, hint=_advice(exc, parts.netloc))

    # ---- redirects ----

    def _follow(self, request: Request) -> Response:
        url, private = request.url, request.private
        for _ in range(MOST_REDIRECTS + 1):
            response = self._once(request, url, private)
            if response.status not in _REDIRECTS or request.method not in ("GET", "HEAD"):
                return response
            with response:
                target = _target(response, url)
            if _origin(target) != _origin(url):
                private = {}
            url = target
        raise RegistryError(f"{urlsplit(request.url).netloc} redirects more than {MOST_REDIRECTS} "
                            f"times: {request.url}")  # fmt: skip

    # ---- one exchange ----

    def _once(self, request: Request, url: str, private: Mapping[str, str]) -> Response:
        # one that may have ended unseen is no good for what must not be sent twice
        kept = self._take(url) if request.is_repeatable else None
        if kept is not None:
            try:
                return self._exchange(kept, request, url, private)
            except (ConnectionError, http.client.BadStatusLine, ssl.SSLError):
                if self._closed.is_set():
                    raise
                # the server has ended the connection while nobody used it: that is no fault
        return self._exchange(self._connect(url), request, url, private)

    def _exchange(
        self, connection: http.client.HTTPConnection, request: Request, url: str,
        private: Mapping[str, str],
    ) -> Response:  # fmt: skip
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        headers = {"User-Agent": self._agent, **request.headers, **private}
        if request.body is not None:
            headers["Content-Length"] = str(request.body.size)
        elif request.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = "0"
        try:
            _write(connection, request, target, headers)
            raw = connection.getresponse()
        except BaseException:
            self._drop(connection)
            raise
        self._reached.add(parts.netloc)
        return Response(raw, url=url, release=lambda is_over: self._release(
            connection, url, is_over=is_over))  # fmt: skip

    def _take(self, url: str) -> http.client.HTTPConnection | None:
        with self._lock:
            kept = self._idle.get(_origin(url))
            if not kept:
                return None
            connection = kept.pop()
            self._live.add(connection)
            return connection

    def _release(
        self, connection: http.client.HTTPConnection, url: str, *, is_over: bool
    ) -> None:
        with self._lock:
            if connection not in self._live:
                return
            kept = self._idle.setdefault(_origin(url), [])
            if is_over and not self._closed.is_set() and len(kept) < _KEPT:
                self._live.discard(connection)
                kept.append(connection)
                return
        self._drop(connection)

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._live.discard(connection)
        connection.close()

    def _connect(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise RegistryError(f"{url} is no address to ask")
        connection = self._made(parts.scheme, parts.netloc)
        with self._lock:
            if self._closed.is_set():
                raise ConnectionAbortedError("the command is ending")
            self._live.add(connection)
        try:
            connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(IDLE_TIMEOUT)
        except BaseException:
            self._drop(connection)
            raise
        return connection

    def _made(self, scheme: str, authority: str) -> http.client.HTTPConnection:
        try:
            name, port = proxies.split_host(authority, default=443 if scheme == "https" else 80)
        except ValueError as exc:
            raise RegistryError(f"{authority} is no host and port") from exc
        proxy = proxies.proxy_for(scheme, authority, self._environ)
        where = (proxy.host, proxy.port) if proxy else (name, port)
        if scheme == "http":
            plain = http.client.HTTPConnection(*where, timeout=CONNECT_TIMEOUT, blocksize=_BLOCK)
            return _Proxied(plain, proxy, authority) if proxy else plain
        context = self._context(self._tls(authority))
        secure = http.client.HTTPSConnection(*where, timeout=CONNECT_TIMEOUT, context=context,
                                             blocksize=_BLOCK)  # fmt: skip
        if proxy:
            secure.set_tunnel(name, port, headers=_proxy_headers(proxy))
        return secure

    def _context(self, tls: Tls) -> ssl.SSLContext:
        with self._lock:
            found = self._contexts.get(tls)
            if found is None:
                found = self._contexts[tls] = _context(tls)
            return found


def _write(
    connection: http.client.HTTPConnection, request: Request, target: str,
    headers: Mapping[str, str],
) -> None:  # fmt: skip
    if request.body is None:
        connection.request(request.method, target, headers=headers)
        return
    with request.body.open() as file:
        try:
            connection.request(request.method, target, body=file, headers=headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has not waited for all of it: what it answers says why


class _Proxied(http.client.HTTPConnection):
    """A connection to a proxy that is asked for whole addresses."""

    def __init__(
        self, plain: http.client.HTTPConnection, proxy: proxies.Proxy, authority: str
    ) -> None:
        super().__init__(plain.host, plain.port, timeout=CONNECT_TIMEOUT, blocksize=_BLOCK)
        self._authority, self._extra = authority, _proxy_headers(proxy)

    def putrequest(self, method: str, url: str, *args: bool, **options: bool) -> None:
        super().putrequest(method, f"http://{self._authority}{url}", *args, **options)
        for name, value in self._extra.items():
            self.putheader(name, value)


def _proxy_headers(proxy: proxies.Proxy) -> dict[str, str]:
    if not proxy.user:
        return {}
    return {"Proxy-Authorization": f"Basic {b64encode(proxy.user.encode()).decode()}"}


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        for file in tls.authorities:
            context.load_verify_locations(file)
        for certificate, key in tls.certificates:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as exc:
        raise RegistryError(f"a certificate cannot be used: {exc}",
                            hint="it is one of those in certs.d") from exc  # fmt: skip
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _shut(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads, which close(2) does not
        except OSError:
            pass


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _target(response: Response, url: str) -> str:
    place = response.header("Location")
    if not place:
        raise RegistryError(f"{response.host} redirects to nowhere: {url}")
    try:
        target = urljoin(url, place)
        parts = urlsplit(target)
    except ValueError as exc:
        raise RegistryError(f"{response.host} redirects to no address: {place[:200]!r}") from exc
    if parts.scheme not in ("http", "https") or (
        urlsplit(url).scheme == "https" and parts.scheme != "https"
    ):
        raise RegistryError(f"{response.host} redirects to {target[:200]}, which is not secure")
    return target


def _delay(attempt: int) -> float:
    base: float = FIRST_DELAY * 2 ** (attempt - 1)
    return base * random.uniform(0.75, 1.25)


def retry_after(text: str, *, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (a number, or a date); None: it says nothing."""
    text = text.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _why(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, socket.gaierror):
        return "there is no such host, or no name server answers"
    if isinstance(exc, TimeoutError):
        return "it does not answer"
    if isinstance(exc, http.client.RemoteDisconnected):
        return "it ended the connection without an answer"
    if isinstance(exc, http.client.HTTPException):
        return f"what answers there does not speak HTTP ({type(exc).__name__})"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc)


def _advice(exc: Exception, host: str) -> str | None:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"put its authority into /etc/docker/certs.d/{host}/ca.crt, or name {host} among " \
               "the insecure-registries"
    if isinstance(exc, ssl.SSLError):
        return f"if it speaks plain HTTP, name {host} among the insecure-registries"
    if isinstance(exc, ConnectionRefusedError):
        return "nothing listens there: does the registry run, and is the port right?"
    if isinstance(exc, OSError) and not isinstance(exc, ConnectionResetError):
        return "see whether this machine has a network; HTTPS_PROXY names a proxy where one is " \
               "needed"
    return None
