"""TLS and proxies, and documents that somebody has spoiled."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ImageError, RegistryError
from orchestrator.image.registry.transport import Request, Tls, Transport
from tests.registry.conftest import Ground
from tests.registry.server import FakeRegistry, Handler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def get(url: str, *, tls: Tls | None = None, **environ: str) -> int:
    transport = Transport(environ=environ, tls=lambda host: tls or Tls(), agent="test",
                          sleep=lambda seconds: None)  # fmt: skip
    try:
        with transport.send(Request(method="GET", url=url)) as response:
            response.document(largest=1000)
            return response.status
    finally:
        transport.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that no machine trusts, and its key beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(tmp_path / "key.pem"), "-out", str(path)], check=True, capture_output=True,
    )  # fmt: skip
    return path


def test_a_certificate_is_trusted_if_its_authority_is_named_and_only_then(
    certificate: Path,
) -> None:
    server = FakeRegistry()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.parent / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with server:
        url = f"https://{server.host}/v2/"
        assert get(url, tls=Tls(authorities=(str(certificate),))) == 200
        assert get(url, tls=Tls(verify=False)) == 200
        with pytest.raises(RegistryError, match="its certificate is not trusted") as failure:
            get(url)
        assert "certs.d" in (failure.value.hint or "")
        with pytest.raises(RegistryError, match="cannot reach"):
            get(f"http://{server.host}/v2/")


def test_a_proxy_is_asked_for_whole_addresses_and_for_tunnels(registry: FakeRegistry) -> None:
    asked: list[tuple[str, str, str]] = []

    def proxy(handler: Handler) -> bool:
        secret = handler.headers.get("Proxy-Authorization") or ""
        asked.append((handler.command, handler.path, secret))
        return handler.answer(200 if handler.command == "GET" else 403)

    registry.fault = proxy
    address = f"http://me:secret@{registry.host}"
    assert get("http://registry.test/v2/", http_proxy=address) == 200
    with pytest.raises(RegistryError, match=f"through the proxy {registry.host}") as failure:
        get("https://registry.test/v2/", https_proxy=address)
    assert "secret" not in str(failure.value)
    basic = "Basic bWU6c2VjcmV0"
    assert asked[0] == ("GET", "http://registry.test/v2/", basic)
    assert ("CONNECT", "registry.test:443", basic) in asked


@settings(max_examples=25)
@given(st.data())
def test_whatever_is_done_to_the_documents_an_image_is_whole_or_there_is_an_error(
    spoiling: Ground, data: st.DataObject
) -> None:
    ground = spoiling
    media_type, document = ground.registry.manifests["app", "1"]
    at = data.draw(st.integers(0, len(document) - 1), label="at")
    length = data.draw(st.integers(0, 30), label="length")
    new = data.draw(st.one_of(
        st.binary(max_size=8),
        st.sampled_from([b"null", b"[]", b"{}", b"-1", b'""', b"1e999", b"9" * 400, b"[" * 999]),
    ), label="new")  # fmt: skip
    ground.registry.manifests["app", "spoiled"] = (
        media_type, document[:at] + new + document[at + length:])
    try:
        pulled = ground.pull("app:spoiled")
    except ImageError:
        return
    assert len(ground.store.layers(pulled.image)) == len(pulled.image.layers)


@pytest.fixture(scope="module")
def spoiling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One image for all the examples."""
    with FakeRegistry() as server:
        found = Ground(tmp_path_factory.mktemp("spoiling"), server)
        found.slept = []
        found.image()
        yield found
