"""What a Compose file says about isolation, seen from inside of whole stacks."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

SHARING = """
services:
  db:
    image: pcompose/host
    command: python3 -m http.server -b 127.0.0.1 8000
  side:
    image: pcompose/host
    command: sleep infinity
    network_mode: service:db
    pid: service:db
    ipc: service:db
  machine:
    image: pcompose/host
    command: sleep infinity
    network_mode: host
    ports: ["80:80"]
  alone:
    image: pcompose/host
    command: sleep infinity
    network_mode: none
    sysctls: {net.core.somaxconn: 77}
    security_opt: [no-new-privileges, "seccomp=profile.json"]
    ulimits: {nofile: {soft: 100, hard: 200}}
"""
PROFILE = """{"defaultAction": "SCMP_ACT_ALLOW",
"syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"""
FETCH = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000').status)"


def test_containers_share_what_they_say_and_nothing_else(stack: Stack) -> None:
    stack.write(SHARING)
    stack.write(PROFILE, "profile.json")
    done = stack("-p", stack.name, "up", "-d", "--wait")
    assert "nothing is published" in done.stderr
    assert stack.execute("side", "python3", "-c", FETCH) == "200\n"
    assert "http.server" in stack.execute("side", "cat", "/proc/1/cmdline")
    hosts = stack.execute("side", "cat", "/etc/hosts")
    assert hosts == stack.execute("db", "cat", "/etc/hosts")
    assert stack.sandbox.holder is not None
    outside = os.readlink(f"/proc/{stack.sandbox.holder.pid}/ns/net")
    assert stack.execute("machine", "readlink", "/proc/self/ns/net").strip() == outside
    assert stack.execute("machine", "hostname").strip() == os.uname().nodename
    assert stack.execute("alone", "ls", "/sys/class/net").split() == ["lo"]
    shown = stack.execute("alone", "sh", "-c", "cat /proc/sys/net/core/somaxconn; ulimit -n")
    assert shown.split() == ["77", "100"]
    refused = stack("exec", "-T", "alone", "mkdir", "/tmp/x", ok=False)
    assert "No space left" in refused.stderr  # errno 28, as the profile says


def test_who_shares_is_restarted_with_whom_it_shares(stack: Stack) -> None:
    stack.write("""
services:
  db: {image: pcompose/host, command: sleep infinity}
  side: {image: pcompose/host, command: sleep infinity, network_mode: "service:db"}
""")
    stack("-p", stack.name, "up", "-d")
    stack("-p", stack.name, "restart", "db")
    same = stack.execute("db", "readlink", "/proc/self/ns/net")
    assert stack.execute("side", "readlink", "/proc/self/ns/net") == same
    stack("-p", stack.name, "up", "-d", "--force-recreate", "db")
    same = stack.execute("db", "readlink", "/proc/self/ns/net")
    assert stack.execute("side", "readlink", "/proc/self/ns/net") == same


def test_who_shares_follows_a_restart_by_policy(stack: Stack) -> None:
    stack.write("""
services:
  db: {image: pcompose/host, command: sleep infinity, restart: always}
  side: {image: pcompose/host, command: sleep infinity, network_mode: "service:db"}
  its: {image: pcompose/host, command: sleep infinity, network_mode: "service:side"}
""")
    stack("-p", stack.name, "up", "-d")
    before = {service: stack.pid(service) for service in ("db", "side", "its")}
    os.kill(before["db"], signal.SIGKILL)

    def namespaces() -> set[str]:
        rows = stack.ps()
        pids = {s: int(rows[f"{stack.name}-{s}-1"]["Pid"]) for s in before}
        if not all(pids[s] not in (0, before[s]) for s in before):
            return set()
        return {os.readlink(f"/proc/{pid}/ns/net") for pid in pids.values()}

    assert len(eventually(namespaces)) == 1


def test_a_change_of_isolation_makes_the_container_again(stack: Stack) -> None:
    text = "services: {a: {image: pcompose/host, command: sleep infinity, cpu_shares: %d}}"
    stack.write(text % 512)
    stack("-p", stack.name, "up", "-d")
    stack.write(text % 256)
    planned = stack("-p", stack.name, "plan", ok=False).stdout
    assert "cpu_shares 512 -> 256" in planned
    stack("-p", stack.name, "up", "-d")
    assert "recreate" not in stack("-p", stack.name, "plan").stdout


def test_what_the_machine_lacks_is_refused_before_anything_is_made(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    devices: [/dev/nonsense]
    cap_add: [SYS_ADMN]
    sysctls: {kernel.panic: 1}
""")
    refused = stack("-p", stack.name, "up", "-d", ok=False)
    assert "compose.yaml:6:15: unknown capability 'SYS_ADMN'" in refused.stderr
    stack.write("services: {a: {image: pcompose/host, command: id, devices: [/dev/nonsense]}}")
    refused = stack("-p", stack.name, "up", "-d", ok=False)
    assert "device /dev/nonsense: no such file" in refused.stderr
    assert stack.remains() == {}


def test_a_cdi_device_brings_nodes_variables_mounts_and_runs_its_hook(stack: Stack) -> None:
    (stack.directory / "cdi").mkdir()
    (stack.directory / "lib").mkdir()
    stack.write("library", "lib/acme.so")
    hook = stack.write("""#!/bin/sh
state=$(cat)
bundle=$(printf %s "$state" | sed 's/.*"bundle":"\\([^"]*\\)".*/\\1/')
root=$(sed 's/.*"path":"\\([^"]*\\)".*/\\1/' "$bundle/config.json")
echo "$1 $A" >"$root/etc/acme.conf"
""", "lib/hook")
    hook.chmod(0o755)
    stack.write(f"""
cdiVersion: "0.6.0"
kind: acme.com/gpu
containerEdits:
  env: [ACME=1]
  mounts: [{{hostPath: {stack.directory}/lib, containerPath: /opt/acme, options: [ro, rbind]}}]
  hooks: [{{hookName: createContainer, path: {hook}, args: [hook, word], env: [A=b]}}]
devices:
- name: "0"
  containerEdits: {{deviceNodes: [{{path: /dev/acme0, hostPath: /dev/zero}}]}}
""", "cdi/acme.yaml")
    stack.sandbox.environment["PCOMPOSE_CDI"] = str(stack.directory / "cdi")
    stack.write("services: {a: {image: pcompose/host, command: sleep infinity, gpus: all}}")
    stack("-p", stack.name, "up", "-d")
    script = "head -c 3 /dev/acme0 | wc -c; echo $ACME; cat /opt/acme/acme.so /etc/acme.conf"
    shown = stack.execute("a", "sh", "-c", script).split("\n")
    assert shown[:2] == ["3", "1"]
    assert "".join(shown[2:]) == "libraryword b"
    hook.write_text("#!/bin/sh\necho no driver >&2; exit 3\n")
    refused = stack("-p", stack.name, "up", "-d", "--force-recreate", ok=False)
    assert "failed with code 3: no driver" in refused.stderr


def test_volumes_and_images_are_shared_between_services(stack: Stack) -> None:
    stack.write("""
services:
  reader:
    image: pcompose/host
    command: sleep infinity
    volumes_from: ["writer:ro"]
    volumes: [{type: image, source: pcompose/host, target: /image, image: {subpath: etc}}]
  writer:
    image: pcompose/host
    command: sleep infinity
    volumes: ["/data", "named:/named"]
volumes: {named: }
""")
    stack("-p", stack.name, "up", "-d")
    stack.execute("writer", "sh", "-c", "echo one >/data/x; echo two >/named/x")
    assert stack.execute("reader", "cat", "/data/x", "/named/x") == "one\ntwo\n"
    refused = stack("exec", "-T", "reader", "touch", "/data/y", ok=False)
    assert "Read-only" in refused.stderr
    assert "root:" in stack.execute("reader", "cat", "/image/passwd")
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}
