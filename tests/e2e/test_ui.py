"""The page of `pcompose ui` in front of a real stack, and in a real browser where there is one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.e2e.sandbox import eventually

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


class Browser:
    """Headless Chromium, told what to do over a pipe (Chrome DevTools Protocol: a JSON object and a
    zero byte each way, descriptors 3 and 4)."""

    def __init__(self, page: Page) -> None:
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()
        words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu",
                 "--remote-debugging-pipe", f"--user-data-dir={page.stack.directory}/browser"]
        script = f'exec "$@" 3<&{reads} 4>&{writes} {reads}<&- {writes}>&-'
        self._process = subprocess.Popen(
            page.stack.sandbox.inside(["bash", "-c", script, "bash", *words]),
            env=page.stack.sandbox.environment, pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self._arrived = b""
        self._number = 0
        self._session = ""
        self.complaints: list[object] = []

    def open(self, url: str) -> None:
        """Show a page, and hear what it complains of."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target,
                                  flatten=True)["sessionId"]  # fmt: skip
        for domain in ("Log", "Runtime", "Page"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The answer; what the page complains of meanwhile is kept."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found
            entry = answer.get("params", {}).get("entry", {})
            if answer["method"] == "Runtime.exceptionThrown" or entry.get("source") == "security":
                self.complaints.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._arrived:
            data = os.read(self._from, 1 << 16)
            assert data, "the browser has ended"
            self._arrived += data
        text, _, self._arrived = self._arrived.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")

    def close(self) -> None:
        """It ends with the pipe, and its own processes with it."""
        os.close(self._to)
        try:
            self._process.wait(timeout=60)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._from)


@pytest.fixture
def browser(page: Page) -> Iterator[Browser]:
    made = Browser(page)
    try:
        made.open(page.url)
        yield made
    finally:
        made.close()


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
def test_a_browser_shows_it_and_starts_and_stops(page: Page, browser: Browser) -> None:
    def row(service: str) -> str:
        rows = "[...document.querySelectorAll('tbody tr')]"
        return f"{rows}.find(row => row.cells[0].innerText == '{service}')"

    def state(service: str) -> str:
        return str(browser.ask(f"{row(service)}?.cells[1].innerText")).removeprefix("● ")

    def press(verb: str, service: str) -> None:
        button = f"""document.querySelector('button[aria-label="{verb} {service}"]')"""
        eventually(lambda: browser.ask(f"{button} !== null"), timeout=60)
        browser.ask(f"{button}.click()")

    eventually(lambda: state("web") == "running", timeout=60, what="the page shows the stack")
    assert browser.ask("document.querySelectorAll('tbody tr').length") == 100
    assert "100 services, 1 containers" in browser.ask("document.body.innerText")
    eventually(lambda: browser.ask("document.getElementById('drawing').naturalWidth") > 1000,
               timeout=60, what="the graph is drawn")  # fmt: skip
    press("stop", "web")
    eventually(lambda: state("web").startswith("exited"), timeout=60)
    press("start", "s7")
    eventually(lambda: state("s7") == "running", timeout=60, what="what is missing is made")
    browser.ask(f"{row('web')}.click()")
    eventually(lambda: "<b>here</b>" in browser.ask("document.getElementById('logs').innerText"),
               timeout=60, what="the log is shown as it is")  # fmt: skip
    paper = "getComputedStyle(document.body).backgroundColor"
    for scheme, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")):
        browser.call("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert browser.ask(paper) == colour
    assert browser.complaints == []
