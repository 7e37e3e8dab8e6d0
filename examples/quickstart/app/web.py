"""One page: the greeting, who answered, and the counter of the store."""

import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with urlopen(f"{os.environ['STORE']}/count", timeout=5) as answer:
            count = int(answer.read())
        body = f"{os.environ['GREETING']}: {socket.gethostname()} sees count {count}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print("web: listening on 8000", flush=True)
ThreadingHTTPServer(("", 8000), Page).serve_forever()
