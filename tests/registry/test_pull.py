"""Pulling from a registry, also from one that is broken, slow or hostile."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import ImageError, ImageNotFoundError, RegistryError
from orchestrator.image import archive, saving
from orchestrator.image.config import Platform
from orchestrator.image.distribution import Distribution
from orchestrator.image.store import Image, ImageStore
from tests.image.archives import config, layer, zstd
from tests.registry.conftest import Ground
from tests.registry.server import INDEX, LAYER, MANIFEST, FakeRegistry, Handler, sha

if TYPE_CHECKING:
    from collections.abc import Callable


def content(image: Image) -> list[bytes]:
    """The file of each layer, lowest first."""
    return [next(Path(path).iterdir()).read_bytes() for path in reversed(image.layers)]


def unpacked(layers: list[bytes]) -> list[bytes]:
    return [gzip.decompress(blob)[512:] for blob in layers]


def once(answer: Callable[[Handler], bool], *, path: str) -> Callable[[Handler], bool]:
    """The fault for the first request whose path has `path` in it."""
    left = [1]

    def fault(handler: Handler) -> bool:
        if path not in handler.path or not left:
            return False
        left.pop()
        return answer(handler)

    return fault


def test_an_image_is_pulled_and_known_by_the_digests_of_the_registry(ground: Ground) -> None:
    made = ground.image()
    pulled = ground.pull()
    assert pulled.is_new
    assert pulled.digest == made.digest
    assert pulled.image.id == sha(made.config)
    assert pulled.image.references == (f"{ground.registry.host}/app:1",)
    there = zip(content(pulled.image), unpacked(made.layers), strict=True)
    assert all(plain.startswith(file) for file, plain in there)
    by_digest = ground.store.resolve(f"{ground.registry.host}/app@{made.digest}")
    assert by_digest is not None
    assert by_digest.id == pulled.image.id
    assert Distribution(ground.store.root).document(made.digest) is not None


def test_what_is_unchanged_costs_one_question_and_what_is_shared_is_not_fetched(
    ground: Ground,
) -> None:
    ground.image()
    ground.pull()
    ground.registry.log.clear()
    assert not ground.pull().is_new
    assert ground.registry.counted("HEAD /v2/app/manifests/1") == 1
    assert ground.registry.counted("GET /v2/app/") == 0
    first = json.loads(ground.registry.manifests["app", "1"][1])
    ground.registry.put("app", "2", MANIFEST, json.dumps({**first, "annotations": {"a": "b"}})
                        .encode())  # fmt: skip
    ground.registry.log.clear()
    assert ground.pull("app:2").is_new
    assert ground.registry.counted("GET /v2/app/blobs/") == 1  # its configuration


def test_the_image_of_this_machine_is_chosen_from_an_index(ground: Ground) -> None:
    made = ground.image()
    data = ground.registry.manifests["app", "1"][1]
    entry = {"mediaType": MANIFEST, "digest": made.digest, "size": len(data)}
    architectures = ("s390x", "amd64", "arm64")
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {**entry, "platform": {"os": "linux", "architecture": name}} for name in architectures
        if name != "s390x"]}).encode()  # fmt: skip
    whole = ground.registry.put("app", "all", INDEX, index)
    pulled = ground.pull("app:all")
    assert pulled.digest == whole
    for known in (whole, made.digest):
        assert ground.store.resolve(f"{ground.registry.host}/app@{known}") is not None
    with pytest.raises(ImageError, match="no image for linux/s390x") as failure:
        ground.pull("app:all", platform=Platform(architecture="s390x"))
    assert failure.value.hint == "it has linux/amd64, linux/arm64"


def several(ground: Ground, name: str = "app") -> dict[str, str]:
    """An index `all` of an image for each architecture; architecture -> image id."""
    entries, ids = [], {}
    for architecture in ("amd64", "arm64"):
        plain = layer((architecture, b"x"))
        file = config([plain]).replace(b'"amd64"', f'"{architecture}"'.encode())
        made = ground.registry.add(name, architecture, file, [gzip.compress(plain)])
        size = len(ground.registry.manifests[name, architecture][1])
        ids[architecture] = sha(file)
        entries.append({"mediaType": MANIFEST, "digest": made.digest, "size": size,
                        "platform": {"os": "linux", "architecture": architecture}})
    ground.registry.put(name, "all", INDEX, json.dumps(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode())
    return ids


def test_another_platform_is_pulled_when_it_is_asked_for_and_only_then(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = several(ground)
    own = Platform(architecture="amd64")
    monkeypatch.setattr("orchestrator.image.manifest.host_platform", lambda: own)
    for platform, architecture in ((None, "amd64"), (Platform(architecture="arm64"), "arm64"),
                                   (None, "amd64"), (own, "amd64")):  # fmt: skip
        pulled = ground.pull("app:all", platform=platform)
        assert pulled.image.id == ids[architecture]
        assert pulled.image.platform == f"linux/{architecture}"
    assert ground.registry.counted("GET /v2/app/manifests/all") == 3
    assert len(ground.store.images()) == 2


@pytest.mark.parametrize(
    ("suffix", "compress"), [("", bytes), ("+gzip", gzip.compress), ("+zstd", zstd)]
)
def test_layers_come_in_every_compression_and_with_either_digest(
    ground: Ground, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    plain = layer(("a", b"hello"))
    blob = compress(plain)
    name = sha(blob, "sha512")
    ground.registry.blobs["app", name] = blob
    file = config([plain]).replace(sha(plain).encode(), sha(plain, "sha512").encode())
    ground.registry.add("app", "1", file, [], layers=[
        {"mediaType": f"{LAYER}{suffix}", "digest": name, "size": len(blob)}])  # fmt: skip
    image = ground.pull().image
    assert content(image) == [b"hello"]
    assert b"".join(ground.store.read_layer(sha(plain, "sha512"))) == plain
    parts: list[bytes] = []
    saving.save(ground.store, [image.id], parts.append)
    other = ImageStore(str(ground.path / "other"))
    archive.load(other, io.BytesIO(b"".join(parts)))
    assert other.images()[0].id == image.id


def test_a_layer_that_is_not_what_the_config_says_by_sha512_is_refused(ground: Ground) -> None:
    plain = layer(("a", b"hello"))
    file = config([plain]).replace(sha(plain).encode(), sha(b"other", "sha512").encode())
    ground.registry.add("app", "1", file, [gzip.compress(plain)])
    with pytest.raises(ImageError, match="layer is corrupt: expected sha512:"):
        ground.pull()
    assert os.listdir(f"{ground.store.root}/l") == []


# ---- faults that pass ----


def test_a_cut_connection_goes_on_where_it_was(ground: Ground) -> None:
    made = ground.image(count=1, size=300_000)
    blob = made.layers[0]
    cuts = [len(blob) // 3, len(blob) // 2]

    def cut(handler: Handler) -> bool:
        if "/blobs/" + sha(blob) not in handler.path or not cuts:
            return False
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(blob) - start))
        handler.send_header("Content-Range", f"bytes {start}-{len(blob) - 1}/{len(blob)}")
        handler.end_headers()
        handler.wfile.write(blob[start:cuts.pop(0)])
        handler.close_connection = True
        return True

    ground.registry.fault = cut
    ground.pull()
    ranges = [h["Range"] for h in ground.registry.seen if "Range" in h]
    assert ranges == [f"bytes={len(blob) // 3}-", f"bytes={len(blob) // 2}-"]


def test_a_registry_without_ranges_is_read_from_the_beginning_again(ground: Ground) -> None:
    made = ground.image(count=1, size=100_000)
    ground.registry.has_ranges = False

    def cut(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(made.layers[0])))
        handler.end_headers()
        handler.wfile.write(made.layers[0][:5000])
        handler.close_connection = True
        return True

    ground.registry.fault = once(cut, path=sha(made.layers[0]))
    assert ground.pull().is_new


def test_what_an_earlier_pull_has_left_is_used_and_if_it_is_spoiled_thrown_away(
    ground: Ground,
) -> None:
    made = ground.image(count=2, size=50_000)
    directory = Path(ground.store.root) / "downloads"
    directory.mkdir(parents=True)
    good, bad = (directory / sha(blob).replace(":", "-") for blob in made.layers)
    good.write_bytes(made.layers[0][:20_000])
    bad.write_bytes(bytes(20_000))
    ground.pull()
    ranges = [h["Range"] for h in ground.registry.seen if "Range" in h]
    assert "bytes=20000-" in ranges
    assert list(directory.iterdir()) == []


def test_an_overloaded_registry_is_waited_for_as_long_as_it_says(ground: Ground) -> None:
    ground.image()
    ground.registry.fault = once(
        lambda h: h.answer(503, b"busy", Retry_After="7"), path="/manifests/1")
    ground.pull()
    assert 7.0 in ground.slept


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "answered 429 Too Many Requests"), (500, "answered 500 Internal Server Error"),
     (403, "answered 403 Forbidden: denied: no")],
)
def test_what_does_not_pass_is_told_with_what_the_registry_said(
    ground: Ground, status: int, said: str
) -> None:
    ground.registry.fault = lambda h: h.refuse(status, "DENIED")
    with pytest.raises(RegistryError, match=said) as failure:
        ground.pull()
    assert failure.value.hint
    assert str(failure.value).startswith(f"cannot pull {ground.registry.host}/app:1: ")


def test_a_registry_that_asks_for_too_much_patience_is_not_waited_for(ground: Ground) -> None:
    ground.registry.fault = lambda h: h.refuse(429, "TOOMANYREQUESTS", Retry_After="3600")
    with pytest.raises(RegistryError) as failure:
        ground.pull()
    assert "try again in 3600 s" in (failure.value.hint or "")
    assert ground.slept == []


def test_an_image_that_is_not_there_and_a_registry_that_is_not_there(ground: Ground) -> None:
    with pytest.raises(ImageNotFoundError, match="manifest unknown"):
        ground.pull("none:1")
    with pytest.raises(RegistryError, match=r"cannot reach http://127.0.0.1:1: Connection refused"):
        ground.pull("app:1", host="127.0.0.1:1")


# ---- faults on purpose ----


def spoiled(ground: Ground, path: str, data: bytes, **headers: str) -> None:
    ground.registry.fault = lambda h: path in h.path and h.answer(200, data, **headers)


def test_a_layer_with_another_content_is_refused_and_nothing_of_it_stays(ground: Ground) -> None:
    made = ground.image(count=1)
    other = gzip.compress(layer(("file0", b"evil")))
    same_size = other[:len(made.layers[0])].ljust(len(made.layers[0]), b"\0")
    spoiled(ground, sha(made.layers[0]), same_size)
    with pytest.raises(ImageError):
        ground.pull()
    assert ground.store.images() == []
    for part in ("l", "downloads", "tmp"):
        assert list(Path(ground.store.root, part).iterdir()) == []


def test_a_manifest_that_is_not_the_one_asked_for_is_refused(ground: Ground) -> None:
    made = ground.image()
    other = ground.registry.manifests["app", "1"][1].replace(b"{", b"{ ", 1)
    spoiled(ground, "/manifests/", other, Content_Type=MANIFEST)
    with pytest.raises(RegistryError, match="sent another manifest"):
        ground.pull(f"app@{made.digest}")


@pytest.mark.parametrize("data", [
    b"", b"[]", b"{", b'{"schemaVersion": 2}', b"\xff" * 100, b"[" * 100_000,
    b'{"schemaVersion": 2, "config": {}, "layers": 3}', b"x" * (5 << 20),
], ids=["nothing", "list", "cut", "no image", "binary", "deep", "types", "large"])  # fmt: skip
def test_a_manifest_that_is_none_is_an_error(ground: Ground, data: bytes) -> None:
    spoiled(ground, "/manifests/", data, Content_Type=MANIFEST)
    with pytest.raises(ImageError, match="cannot pull"):
        ground.pull()


def test_an_endless_answer_ends(ground: Ground) -> None:
    def endless(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            handler.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    ground.registry.fault = lambda h: "/manifests/" in h.path and endless(h)
    with pytest.raises(RegistryError, match="sent more than 4194304 bytes"):
        ground.pull()


def test_a_blob_larger_than_the_disk_is_refused_before_it_is_fetched(ground: Ground) -> None:
    plain = layer(("a", b"hello"))
    blob = gzip.compress(plain)
    ground.registry.add("app", "1", config([plain]), [blob], layers=[
        {"mediaType": f"{LAYER}+gzip", "digest": sha(blob), "size": 1 << 62}])  # fmt: skip
    with pytest.raises(ImageError, match="there is no room"):
        ground.pull()


def test_layers_from_elsewhere_are_refused(ground: Ground) -> None:
    blob = gzip.compress(plain := layer(("a", b"hello")))
    ground.registry.add("app", "1", config([plain]), [blob], layers=[{
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": sha(blob), "size": len(blob), "urls": [f"{ground.registry.url}/elsewhere"]}])
    with pytest.raises(ImageError, match="not fetched"):
        ground.pull()
    assert ground.registry.counted("GET /elsewhere") == 0


def test_what_is_no_image_is_said_to_be_none(ground: Ground) -> None:
    ground.registry.add("app", "1", b"{}", [], config={
        "mediaType": "application/vnd.docker.compose.project", "digest": sha(b"{}"), "size": 2})
    with pytest.raises(ImageError, match="no container image"):
        ground.pull()


@pytest.mark.parametrize("target", ["/v2/app/manifests/1", "file:///etc/passwd", "//", "http://["])
def test_a_redirect_that_leads_nowhere_is_an_error(ground: Ground, target: str) -> None:
    ground.registry.fault = lambda h: (
        "/manifests/" in h.path and (h.answer(307, Location=target)))
    with pytest.raises(RegistryError, match="redirects"):
        ground.pull()


def test_credentials_do_not_follow_a_redirect_to_another_host(ground: Ground) -> None:
    made = ground.image(count=1)
    ground.registry.auth = "basic"
    log_in(ground)
    with FakeRegistry() as other:
        other.blobs["app", sha(made.layers[0])] = made.layers[0]
        ground.registry.fault = lambda h: sha(made.layers[0]) in h.path and (
            h.answer(307, Location=other.url + h.path))
        ground.pull()
        assert other.counted("GET /v2/app/blobs/") == 1
        assert not any("Authorization" in headers for headers in other.seen)
    assert any("Authorization" in headers for headers in ground.registry.seen)


@pytest.mark.parametrize("line", [
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 999999 x\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 401 no\r\nWWW-Authenticate: Bearer realm=\"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 401 no\r\nWWW-Authenticate: \xff\xff,,,=\r\nContent-Length: 0\r\n\r\n",
])  # fmt: skip
def test_what_is_no_http_is_an_error(ground: Ground, line: bytes) -> None:
    def raw(handler: Handler) -> bool:
        handler.wfile.write(line)
        handler.close_connection = True
        return True

    ground.registry.fault = raw
    with pytest.raises(ImageError, match="cannot pull"):
        ground.pull()


# ---- who one is ----


def log_in(ground: Ground, **entry: str) -> None:
    from base64 import b64encode

    found = entry or {"auth": b64encode(ground.registry.password.encode()).decode()}
    path = Path(ground.environ["DOCKER_CONFIG"]) / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"auths": {ground.registry.host: found}}))


def test_a_token_is_fetched_once_and_used_for_everything(ground: Ground) -> None:
    ground.image(count=3)
    ground.registry.auth = "token"
    ground.pull()
    assert ground.registry.counted("GET /token") == 1


def test_an_identity_token_is_exchanged(ground: Ground) -> None:
    ground.image()
    ground.registry.auth = "token"
    log_in(ground, identitytoken="long-lived")
    ground.pull()
    assert ground.registry.counted("POST /token") == 1


def test_a_wrong_password_says_how_to_log_in(ground: Ground) -> None:
    ground.image()
    for auth in ("token", "basic"):
        ground.registry.auth = auth
        log_in(ground, username="me", password="wrong")
        with pytest.raises(RegistryError) as failure:
            ground.pull()
        assert f"pcompose login {ground.registry.host}" in (failure.value.hint or "")


def test_a_token_server_without_tls_gets_no_password_of_a_registry_with_tls() -> None:
    from orchestrator.image.registry.auth import Authorizer

    asked = Authorizer(None, host="r.example", is_secure=True,  # type: ignore[arg-type]
                       find=lambda: None)  # fmt: skip
    for realm in ("http://tokens.example/", "ftp://x", "", "http://[/"):
        with pytest.raises(RegistryError):
            asked._check_realm(realm)
    asked._check_realm("https://tokens.example/")


# ---- several at once ----


def test_layers_are_fetched_side_by_side(ground: Ground) -> None:
    made = ground.image(count=3)
    layers = {sha(blob) for blob in made.layers}
    together = threading.Barrier(3, timeout=60)

    def meet(handler: Handler) -> bool:
        if handler.path.rpartition("/")[2] in layers:
            together.wait()
        return False

    ground.registry.fault = meet
    ground.pull()
    assert not together.broken


def test_two_who_pull_the_same_image_do_the_work_once(ground: Ground) -> None:
    made = ground.image(count=3, size=200_000)
    failures: list[BaseException] = []

    def pull() -> None:
        try:
            ground.pull()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=pull) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for blob in made.layers:
        assert ground.registry.counted(f"GET /v2/app/blobs/{sha(blob)}") == 1

