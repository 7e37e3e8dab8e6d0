"""The server of `pcompose ui`: loopback only, and only for whoever has the token.

Any page in the user's browser can send requests to loopback. So: the token is in the URL that the
command prints, and in a header of every request after it; `Host` must be ours (else a name that
another page controls leads here), and so must `Origin` where there is one; nothing from elsewhere
is loaded, and nobody may frame the page.
"""

from __future__ import annotations

import json
import os
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from orchestrator.errors import PcomposeError

if TYPE_CHECKING:
    from orchestrator.cli.page.view import View

MOST_BODY = 4096
_PAGE = os.path.join(os.path.dirname(__file__), "page.html")


class Server(ThreadingHTTPServer):
    """Serves one view until it is shut down."""

    daemon_threads = True

    def __init__(self, view: View, *, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.view = view
        self.token = secrets.token_urlsafe(24)
        port = self.server_address[1]
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    @property
    def url(self) -> str:
        """What the user opens."""
        return f"http://{self.hosts[0]}/?token={self.token}"


class Refused(Exception):
    """The request is not answered."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version, sys_version = "pcompose", ""
    timeout = 30

    def do_GET(self) -> None:
        """The page, or what it asks for."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """start, stop, restart."""
        self._answer(self._post)

    def _answer(self, method: Any) -> None:  # a bound method of ours
        try:
            self._check_origin()
            method(urlsplit(self.path))
        except Refused as refused:
            self._send_json({"error": str(refused)}, refused.status)
        except PcomposeError as error:
            self._send_json({"error": str(error)}, HTTPStatus.CONFLICT)

    def _check_origin(self) -> None:
        """Refused for a request that another page has made."""
        if self.headers.get("Host") not in self.server.hosts:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "this is not the host you asked for")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, "no other page may ask")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Refused(HTTPStatus.FORBIDDEN, "no other page may ask")

    def _check_token(self, said: str) -> None:
        if not secrets.compare_digest(said.encode(), self.server.token.encode()):
            why = "the token is missing or wrong: open the URL that was printed"
            raise Refused(HTTPStatus.FORBIDDEN, why)

    def _get(self, url: Any) -> None:  # SplitResult
        query = parse_qs(url.query)
        if url.path == "/":
            self._check_token(query.get("token", [""])[0])
            self._send_page()
            return
        self._check_token(self.headers.get("X-Token", ""))
        if url.path == "/api/state":
            self._send_json(self.server.view.state())
        elif url.path == "/api/plan":
            self._send_json(self.server.view.plan())
        elif url.path == "/api/logs":
            self._send_json(self.server.view.logs(query.get("service", [""])[0]))
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self, url: Any) -> None:  # SplitResult
        self._check_token(self.headers.get("X-Token", ""))
        verb = url.path.removeprefix("/api/")
        if verb not in ("start", "stop", "restart"):
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        self._send_json(self.server.view.act(verb, self._service()))

    def _service(self) -> str:
        """The service that the body names."""
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > MOST_BODY:
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is missing or too long")
        try:
            said = json.loads(self.rfile.read(int(size)))
            service = said["service"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, "the body names no service") from None
        if not isinstance(service, str) or not service:
            raise Refused(HTTPStatus.BAD_REQUEST, "the body names no service")
        return service

    def _send_page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        with open(_PAGE, encoding="utf-8") as file:
            text = file.read().replace("NONCE", nonce)
        policy = (f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
                  "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
                  "form-action 'none'")
        self._send(text.encode(), "text/html; charset=utf-8", policy=policy)

    def _send_json(self, data: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(data).encode(), "application/json", status=status)

    def _send(
        self, body: bytes, kind: str, *, status: HTTPStatus = HTTPStatus.OK,
        policy: str = "default-src 'none'",
    ) -> None:  # fmt: skip
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind), ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy), ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The terminal is the user's; the token must not be in any log."""
