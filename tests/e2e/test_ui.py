"""The page of `pcompose ui` in front of a real stack, and in a real browser where there is one."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

ASK = """
import sys, urllib.request as u
request = u.Request(sys.argv[1], headers={"X-Token": sys.argv[2]},
                    data=sys.argv[3].encode() if len(sys.argv) > 3 else None)
sys.stdout.write(u.urlopen(request, timeout=60).read().decode())
"""


class Page:
    """The command at work, asked from within the stack's network namespace."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.command = stack.start("ui")
        assert self.command.stdout is not None
        self.url = self.command.stdout.readline().strip()
        self.token = parse_qs(urlsplit(self.url).query)["token"][0]

    def ask(self, path: str, *body: str) -> dict[str, Any]:
        url = f"http://{urlsplit(self.url).netloc}/api/{path}"
        done = self.stack.sandbox.run([sys.executable, "-c", ASK, url, self.token, *body])
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def state(self, service: str) -> str:
        rows = self.ask("state")["services"]
        return next(str(row["state"]) for row in rows if row["name"] == service)


@pytest.fixture
def page(stack: Stack) -> Iterator[Page]:
    services = "".join(
        f"  s{n}: {{image: pcompose/host, command: sleep infinity, init: true}}\n"
        for n in range(1, 100)
    )
    stack.write(f"""
name: {stack.name}
services:
  web:
    image: pcompose/host
    command: sh -c 'echo "<b>here</b>"; exec sleep infinity'
    init: true
{services}""")
    stack("up", "-d", "--wait", "web")
    made = Page(stack)
    yield made
    made.command.send_signal(signal.SIGTERM)
    made.command.communicate(timeout=30)
    assert made.command.returncode == 130


def test_a_hundred_services_are_shown_and_one_is_stopped_and_started(page: Page) -> None:
    found = page.ask("state")
    assert len(found["services"]) == 100
    assert found["graph"].count(">s") >= 99
    assert page.state("web") == "running"
    assert page.state("s7") == "missing"
    assert page.ask("logs?service=web")["lines"] == ["web-1  <b>here</b>"]
    assert "CreateContainer" in page.ask("plan")["text"]
    body = json.dumps({"service": "web"})
    page.ask("stop", body)
    assert page.state("web").startswith("exited")
    page.ask("start", body)
    assert page.state("web") == "running"
    page.stack.write("services: [")
    assert "compose.yaml:2:1" in page.ask("plan")["text"]


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
def test_a_browser_shows_it(page: Page) -> None:
    done = page.stack.sandbox.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000",
         f"--user-data-dir={page.stack.directory}/browser", "--dump-dom", page.url]
    )  # fmt: skip
    texts: list[str] = []

    class Parser(HTMLParser):
        def handle_data(self, data: str) -> None:
            texts.append(data.strip())

    Parser().feed(done.stdout)
    assert "100 services, 1 containers" in texts, done.stderr
    assert {"web", "running", "s99", "missing"} <= set(texts)
    assert texts.count("restart") == 100
