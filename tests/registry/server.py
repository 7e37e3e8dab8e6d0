"""A registry and its token server in memory, on a loopback port, that can be told to misbehave."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def sha(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    """One request; what the registry's `fault` has answered is left alone."""

    protocol_version = "HTTP/1.1"
    server: FakeRegistry
    timeout = 20

    def log_message(self, *args: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    @property
    def parts(self) -> Any:
        return urlsplit(self.path)

    @property
    def query(self) -> dict[str, str]:
        return {k: v[0] for k, v in parse_qs(self.parts.query).items()}

    def answer(self, status: int, data: bytes = b"", **headers: str) -> bool:
        """Answer; True, so that a fault can end with it."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        return True

    def refuse(self, status: int, code: str, message: str = "no", **headers: str) -> bool:
        body = {"errors": [{"code": code, "message": message}]}
        return self.answer(status, json.dumps(body).encode(), **headers)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do(self) -> None:
        registry = self.server
        registry.log.append(f"{self.command} {self.path}")
        registry.seen.append(dict(self.headers))
        if registry.fault is not None and registry.fault(self):
            return
        if self.parts.path == "/token":
            self.token()
        elif self.is_allowed():
            self.route()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_CONNECT = do

    # ---- who is it? ----

    def token(self) -> bool:
        registry, given = self.server, self.query
        if self.command == "POST":
            given = {k: v[0] for k, v in parse_qs(self.body().decode()).items()}
            if given.get("refresh_token") != registry.identity:
                return self.refuse(401, "UNAUTHORIZED")
        elif registry.password and self.headers.get("Authorization") and not self.is_known():
            return self.refuse(401, "UNAUTHORIZED")
        value = f"t{len(registry.tokens)}"
        scopes = parse_qs(self.parts.query).get("scope", []) if self.command == "GET" else (
            given.get("scope", "").split())  # fmt: skip
        is_known = self.command == "POST" or self.is_known()
        registry.tokens[value] = [s if is_known else s.replace(",push", "") for s in scopes]
        return self.answer(200, json.dumps({"token": value, "expires_in": 300}).encode())

    def is_known(self) -> bool:
        scheme, _, rest = (self.headers.get("Authorization") or "").partition(" ")
        return scheme == "Basic" and b64decode(rest).decode() == self.server.password

    def is_allowed(self) -> bool:
        registry = self.server
        if registry.auth == "basic" and not self.is_known():
            self.refuse(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="test"')
            return False
        if registry.auth == "token" and not self.has_token():
            name = self.name()
            writes = self.command not in ("GET", "HEAD")
            scope = f',scope="repository:{name}:pull{",push" if writes else ""}"' if name else ""
            self.refuse(401, "UNAUTHORIZED", WWW_Authenticate=(
                f'Bearer realm="{registry.realm or registry.url + "/token"}",service="test"{scope}'
            ))  # fmt: skip
            return False
        return True

    def has_token(self) -> bool:
        scopes = self.server.tokens.get((self.headers.get("Authorization") or "")[7:])
        wanted = "push" if self.command in ("POST", "PUT", "PATCH") else "pull"
        return scopes is not None and (not self.name() or any(
            f"repository:{self.name()}:" in scope and wanted in scope for scope in scopes))

    def name(self) -> str:
        found = re.match(r"/v2/(.+)/(?:manifests|blobs|tags)/", self.path)
        return found[1] if found else ""

    # ---- what is wanted? ----

    def route(self) -> bool:
        registry, path, name = self.server, self.parts.path, self.name()
        rest = path.removeprefix(f"/v2/{name}/")
        if path == "/v2/":
            return self.answer(200, b"{}")
        if path == "/v2/_catalog":
            names = sorted({key[0] for key in registry.manifests})
            return self.answer(200, json.dumps({"repositories": names}).encode())
        if rest.startswith("manifests/"):
            return self.manifest(name, rest.removeprefix("manifests/"))
        if rest.startswith("blobs/uploads/"):
            return self.upload(name, rest.removeprefix("blobs/uploads/"))
        if rest.startswith("blobs/"):
            return self.blob(name, rest.removeprefix("blobs/"))
        return self.refuse(404, "UNSUPPORTED")

    def manifest(self, name: str, wanted: str) -> bool:
        registry = self.server
        if self.command == "PUT":
            registry.put(name, wanted, self.headers["Content-Type"], data := self.body())
            return self.answer(201, Docker_Content_Digest=sha(data))
        found = registry.manifests.get((name, wanted))
        if found is None:
            return self.refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return self.answer(200, found[1], Content_Type=found[0],
                           Docker_Content_Digest=sha(found[1]))  # fmt: skip

    def blob(self, name: str, wanted: str) -> bool:
        data = self.server.blobs.get((name, wanted))
        if data is None:
            return self.refuse(404, "BLOB_UNKNOWN", "blob unknown")
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if start and self.server.has_ranges:
            part = data[int(start[1]):]
            return self.answer(206, part, Content_Range=f"bytes {start[1]}-{len(data) - 1}/"
                               f"{len(data)}")  # fmt: skip
        return self.answer(200, data)

    def upload(self, name: str, id_: str) -> bool:
        registry, query = self.server, self.query
        if self.command == "POST":
            mounted = registry.blobs.get((query.get("from", ""), query.get("mount", "")))
            if mounted is not None and registry.has_mounts:
                registry.blobs[name, query["mount"]] = mounted
                return self.answer(201, Location="/")
            id_ = str(next(registry.ids))
            registry.uploads[id_] = bytearray()
            return self.answer(202, Location=f"/v2/{name}/blobs/uploads/{id_}?state=x", Range="0-0")
        have = registry.uploads.get(id_)
        if have is None:
            return self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "PATCH":
            start = re.match(r"(\d+)-", self.headers.get("Content-Range") or "")
            if (int(start[1]) if start else 0) != len(have):
                return self.refuse(416, "RANGE_INVALID")
            have += self.body()
        elif self.command == "PUT":
            have += self.body()
            if sha(bytes(have)) != query["digest"]:
                return self.refuse(400, "DIGEST_INVALID")
            registry.blobs[name, query["digest"]] = bytes(have)
            return self.answer(201)
        place = f"/v2/{name}/blobs/uploads/{id_}?state=x"
        return self.answer(204 if self.command == "GET" else 202, Location=place,
                           Range=f"0-{max(0, len(have) - 1)}")  # fmt: skip


Fault = Callable[[Handler], bool]


@dataclass
class Made:
    """An image that was put into the registry."""

    digest: str
    config: bytes
    layers: list[bytes] = field(default_factory=list)


class FakeRegistry(ThreadingHTTPServer):
    """The server; a context manager."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.host = f"{host}:{self.server_address[1]}"
        self.url = f"http://{self.host}"
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.ids = count()
        self.tokens: dict[str, list[str]] = {}
        self.log: list[str] = []
        self.seen: list[dict[str, str]] = []
        self.fault: Fault | None = None
        self.auth = self.realm = ""
        self.password = "me:secret"
        self.identity = "long-lived"
        self.has_ranges = self.has_mounts = True

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *args: Any) -> None:
        pass

    def put(self, name: str, tag: str, media_type: str, data: bytes) -> str:
        for key in (tag, sha(data)):
            self.manifests[name, key] = (media_type, data)
        return sha(data)

    def add(
        self, name: str, tag: str, config: bytes, layers: list[bytes], /, **changes: Any
    ) -> Made:
        """An image of these layer blobs; `changes` to its manifest."""
        for blob in (config, *layers):
            self.blobs[name, sha(blob)] = blob
        document = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": sha(config), "size": len(config)},
            "layers": [{"mediaType": f"{LAYER}+gzip", "digest": sha(b), "size": len(b)}
                       for b in layers],
            **changes,
        }  # fmt: skip
        data = json.dumps(document).encode()
        return Made(digest=self.put(name, tag, MANIFEST, data), config=config, layers=layers)

    def counted(self, beginning: str) -> int:
        return sum(line.startswith(beginning) for line in self.log)
