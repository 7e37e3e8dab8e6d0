"""The page of `pcompose ui`: who is answered and who is not, and what a browser is told."""

from __future__ import annotations

import http.client
import json
import threading
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from orchestrator.cli.page import view
from orchestrator.cli.page.server import Server
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Told:
    """A view that notes what it is asked."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def state(self) -> dict[str, Any]:
        return {"project": "p", "services": []}

    def plan(self) -> dict[str, Any]:
        return {"text": "nothing"}

    def logs(self, service: str) -> dict[str, Any]:
        return {"lines": [service]}

    def act(self, verb: str, service: str) -> dict[str, Any]:
        if service == "none":
            raise UsageError("no such service: none")
        self.done.append((verb, service))
        return {}


class Site:
    """A server and requests to it."""

    def __init__(self) -> None:
        self.view = Told()
        self.server = Server(self.view)  # type: ignore[arg-type]  # it has the same methods
        self.url = urlsplit(self.server.url)

    def __call__(
        self, path: str, *, method: str = "GET", body: str | None = None, token: str | None = None,
        **headers: str,
    ) -> tuple[int, str, dict[str, str]]:  # fmt: skip
        token = self.server.token if token is None else token
        given = {"X-Token": token, **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection = http.client.HTTPConnection(self.url.netloc, timeout=30)
        connection.request(method, path, body, headers=given)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text, dict(answer.getheaders())


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.mark.parametrize(
    ("alive", "there", "verbs"),
    [(0, 0, "start"), (0, 2, "start"), (2, 2, "stop restart"), (1, 2, "start stop restart")],
)
def test_only_what_can_be_done_is_offered(alive: int, there: int, verbs: str) -> None:
    assert view.verbs(alive, there) == verbs.split()


def test_it_listens_on_loopback_only(site: Site) -> None:
    assert site.server.server_address[0] == "127.0.0.1"
    assert site.url.hostname == "127.0.0.1"


def test_the_page_needs_the_token_and_loads_nothing_from_elsewhere(site: Site) -> None:
    status, text, headers = site(f"/?{site.url.query}")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert "frame-ancestors 'none'" in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert text.count(f'nonce="{nonce}"') == 2
    assert site.server.token not in text
    found: list[tuple[str, str | None]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(attrs)

    Parser().feed(text)
    assert not [value for name, value in found if name in ("src", "href", "style", "onclick")]
    for path in ("/", "/?token=", "/?token=wrong"):
        assert site(path)[0] == 403


@pytest.mark.parametrize("path", ["/api/state", "/api/plan", "/api/logs?service=web"])
def test_data_is_for_whoever_has_the_token(site: Site, path: str) -> None:
    assert site(path)[0] == 200
    assert site(path, token="")[0] == 403
    assert site(f"{path}?{site.url.query}", token="é".encode().decode("latin-1"))[0] == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 421), ({"Host": "127.0.0.1:1"}, 421),
     ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403),
     ({"Sec_Fetch_Site": "cross-site"}, 403), ({"Sec_Fetch_Site": "same-site"}, 403),
     ({"Sec_Fetch_Site": "same-origin"}, 200)],
    ids=str,
)  # fmt: skip
def test_another_page_is_not_answered(site: Site, headers: dict[str, str], status: int) -> None:
    assert site("/api/state", **headers)[0] == status
    stop = site("/api/stop", method="POST", body='{"service": "web"}', **headers)
    assert stop[0] == status
    assert bool(site.view.done) == (status == 200)


def test_services_are_started_and_stopped(site: Site) -> None:
    for verb in ("start", "stop", "restart"):
        assert site(f"/api/{verb}", method="POST", body='{"service": "web"}')[0] == 200
    assert site.view.done == [("start", "web"), ("stop", "web"), ("restart", "web")]
    status, text, _ = site("/api/stop", method="POST", body='{"service": "none"}')
    assert (status, json.loads(text)) == (409, {"error": "no such service: none"})
    assert site("/api/stop")[0] == 404


@pytest.mark.parametrize(
    "body",
    ["", "[", "[]", "{}", "null", '{"service": 1}', '{"service": ""}', "[" * 4000, "x" * 5000],
)
def test_bad_bodies_are_refused(site: Site, body: str) -> None:
    assert site("/api/stop", method="POST", body=body)[0] == 400
    assert not site.view.done


def test_only_three_verbs_and_four_pages_are_there(site: Site) -> None:
    assert site("/api/down", method="POST", body='{"service": "web"}')[0] == 404
    assert site("/etc/passwd")[0] == 404
    assert site("/../page.html")[0] == 404
