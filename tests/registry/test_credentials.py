"""Where names and passwords are kept, as docker and podman keep them."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import RegistryError
from orchestrator.image.registry import hosts, proxies
from orchestrator.image.registry.auth import parse_challenges
from orchestrator.image.registry.credentials import CredentialFile, Credentials, host_of
from orchestrator.image.registry.transport import retry_after

HELPER = """#!/bin/sh
case $1 in
get) read -r server; [ -f "$STORE" ] || { echo "credentials not found in native keychain"; exit 1; }
  cat "$STORE";;
store) cat > "$STORE";;
erase) read -r server; rm "$STORE";;
esac
"""


def auth(text: str) -> dict[str, str]:
    return {"auth": b64encode(text.encode()).decode()}


def file(path: Path, content: object) -> CredentialFile:
    (path / "config.json").write_text(json.dumps(content))
    return CredentialFile({"DOCKER_CONFIG": str(path), "PATH": f"{path}:{os.environ['PATH']}",
                           "STORE": str(path / "store.json")})  # fmt: skip


@pytest.mark.parametrize(("key", "host"), [
    ("https://index.docker.io/v1/", "docker.io"), ("docker.io", "docker.io"),
    ("registry-1.docker.io", "docker.io"), ("https://r.example:5000/v2/", "r.example:5000"),
    ("http://R.example", "r.example"), ("r.example/", "r.example"),
])  # fmt: skip
def test_an_entry_is_found_however_its_key_is_written(tmp_path: Path, key: str, host: str) -> None:
    assert host_of(key) == host
    found = file(tmp_path, {"auths": {"other": auth("x:y"), key: auth("me:pass:word")}}).find(host)
    assert found == Credentials(user="me", password="pass:word")
    assert file(tmp_path, {"auths": {key: auth("a:b")}}).find("elsewhere.example") is None


def test_saving_and_erasing_keep_what_is_not_ours(tmp_path: Path) -> None:
    before = {"auths": {"other": auth("x:y")}, "HttpHeaders": {"A": "b"}, "psFormat": "z"}
    found = file(tmp_path, before)
    found.save("r.example", Credentials(user="me", password="secret"))
    found.save("docker.io", Credentials(identity_token="tok"))
    data = json.loads((tmp_path / "config.json").read_text())
    assert data["auths"]["r.example"] == auth("me:secret")
    assert data["auths"]["https://index.docker.io/v1/"]["identitytoken"] == "tok"
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600
    assert found.erase("r.example")
    assert found.erase("docker.io")
    assert not found.erase("r.example")
    assert json.loads((tmp_path / "config.json").read_text()) == before
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_helper_keeps_what_it_is_named_for(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    found = file(tmp_path, {"credHelpers": {"r.example": "test"}, "auths": {"o": auth("a:b")}})
    assert found.find("r.example") is None
    assert found.helper("r.example") == "test"
    assert found.helper("o") == ""
    found.save("r.example", Credentials(user="me", password="secret"))
    assert "secret" not in (tmp_path / "config.json").read_text()
    assert found.find("r.example") == Credentials(user="me", password="secret")
    assert found.erase("r.example")
    assert found.find("r.example") is None
    stored = file(tmp_path, {"credsStore": "test"})
    stored.save("any.example", Credentials(identity_token="tok"))
    assert stored.find("any.example") == Credentials(identity_token="tok")


@pytest.mark.parametrize(("content", "said"), [
    ([], "no JSON object"), ({"auths": {"r": {"auth": "!!"}}}, "no base64 of name:password"),
    ({"credsStore": "missing"}, "there is no docker-credential-missing"),
    ({"credsStore": "../evil"}, "which is no program"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(
    tmp_path: Path, content: object, said: str
) -> None:
    with pytest.raises(RegistryError, match=said) as failure:
        file(tmp_path, content).find("r")
    assert str(tmp_path) in str(failure.value)


def test_a_password_is_not_shown() -> None:
    shown = repr(Credentials(user="me", password="secret", identity_token="hidden"))
    assert "secret" not in shown
    assert "hidden" not in shown


# ---- how a machine is set up ----


def test_mirrors_and_insecure_registries_are_those_of_docker(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "daemon.json").write_text(json.dumps({
        "registry-mirrors": ["https://mirror.example"],
        "insecure-registries": ["lan.example:5000", "10.1.0.0/16"], "log-level": "debug"}))
    found = hosts.read({"XDG_CONFIG_HOME": str(tmp_path)}, insecure=["more.example"])
    asked = [(e.host, e.is_mirror) for e in found.endpoints("docker.io")]
    assert asked[-2:] == [("mirror.example", True), ("registry-1.docker.io", False)]
    insecure = ("lan.example:5000", "10.1.2.3:80", "more.example", "localhost:1", "127.9.9.9",
                "[::1]:5000")  # fmt: skip
    assert all(map(found.is_insecure, insecure))
    assert not any(map(found.is_insecure, ("lan.example", "10.2.0.1", "docker.io", "a:b:c")))
    assert found.origin("lan.example:5000").scheme == ""
    assert found.origin("r.example").scheme == "https"


def test_certificates_are_found_by_host(tmp_path: Path) -> None:
    directory = tmp_path / "docker" / "certs.d" / "r.example:5000"
    directory.mkdir(parents=True)
    for name in ("ca.crt", "client.cert", "client.key"):
        (directory / name).touch()
    tls = hosts.read({"XDG_CONFIG_HOME": str(tmp_path)}).tls("r.example:5000")
    assert tls.verify
    assert tls.authorities == (f"{directory}/ca.crt",)
    assert tls.certificates == ((f"{directory}/client.cert", f"{directory}/client.key"),)
    (directory / "client.key").unlink()
    with pytest.raises(RegistryError, match=r"no client\.key"):
        hosts.read({"XDG_CONFIG_HOME": str(tmp_path)}).tls("r.example:5000")


@pytest.mark.parametrize(("host", "exceptions", "is_direct"), [
    ("r.example", "", False), ("r.example", "other, R.example", True),
    ("a.r.example", "r.example", True), ("a.r.example", ".r.example", True),
    ("ar.example", "r.example", False), ("r.example:5000", "r.example:5000", True),
    ("r.example:5000", "r.example:80", False), ("10.1.2.3", "10.0.0.0/8", True),
    ("r.example", "*", True), ("localhost:5000", "", True), ("[::1]", "", True),
    ("127.0.0.1", "", True), ("r.example", "*.example", True), ("[fd00::1]", "fd00::/8", True),
])  # fmt: skip
def test_a_proxy_is_gone_around_as_told(host: str, exceptions: str, is_direct: bool) -> None:
    environ = {"HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128", "NO_PROXY": exceptions}
    found = proxies.proxy_for("https", host, environ)
    assert (found is None) is is_direct
    if found:
        assert found == proxies.Proxy("proxy.example", 3128, "me:p@ss")
        assert "p@ss" not in str(found)


def test_a_proxy_of_another_kind_is_an_error() -> None:
    with pytest.raises(RegistryError, match="HTTPS_PROXY names no proxy"):
        proxies.proxy_for("https", "r.example", {"https_proxy": "socks5://p:1"})


# ---- headers ----


def test_challenges_are_read_as_servers_write_them() -> None:
    found = parse_challenges([
        'Bearer realm="https://t/x?a=b",service="r, with \\"comma\\"", scope="repository:a:pull"',
        "Basic realm=simple, Negotiate",
    ])  # fmt: skip
    assert [c.scheme for c in found] == ["bearer", "basic", "negotiate"]
    assert found[0].parameters == {"realm": "https://t/x?a=b", "service": 'r, with "comma"',
                                   "scope": "repository:a:pull"}  # fmt: skip
    assert found[1].parameters == {"realm": "simple"}


@given(st.lists(st.text(max_size=80), max_size=3))
def test_any_challenge_is_read_or_left_out(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme


@given(st.text(max_size=40))
def test_any_retry_after_is_a_time_or_nothing(text: str) -> None:
    found = retry_after(text, now=0)
    assert found is None or found >= 0


def test_a_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("7", now=0) == 7
    assert retry_after("Thu, 01 Jan 1970 00:00:30 GMT", now=10) == 20
