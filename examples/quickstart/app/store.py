"""A counter over HTTP: GET /count reads it, POST /count adds one; kept in a file on a volume."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

COUNTER = Path("/data/counter")
LOCK = Lock()


class Counter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(self.read())

    def do_POST(self) -> None:
        with LOCK:
            value = self.read() + 1
            draft = COUNTER.with_suffix(".new")
            draft.write_text(str(value))
            os.replace(draft, COUNTER)
        self.answer(value)

    def read(self) -> int:
        return int(COUNTER.read_text()) if COUNTER.exists() else 0

    def answer(self, value: int) -> None:
        body = str(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the worker asks often."""


print("store: ready", flush=True)
ThreadingHTTPServer(("", 8000), Counter).serve_forever()
