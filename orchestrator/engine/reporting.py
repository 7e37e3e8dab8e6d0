"""`report`: everything about a stack that helps to find a fault in it, as one archive, no secrets.

What is left out or masked: contents of secrets and configs, all values of environments, values of
keys that look secret, passwords in URLs and on command lines; and wherever the content of a secret
or a secret-looking variable appears in a log or an error, it is masked there too.
"""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from orchestrator import __version__
from orchestrator.dataclass import asdict
from orchestrator.engine.lookup import declared_if_any
from orchestrator.errors import PcomposeError, StateError
from orchestrator.events import Sink
from orchestrator.linux import procfs
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.plan import explain
from orchestrator.runtime import logs
from orchestrator.spec import dump
from orchestrator.state import journal, store

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.state.observed import Observed, ObservedContainer

MASK = "***"
LINES = 1000
SHORTEST = 4
"""Characters of a value that is looked for in texts: shorter ones are everywhere."""
_LARGEST_SECRET = 1 << 16
README = """What this is: the report of a pcompose project, for whoever looks for a fault in it.

  machine.json     versions, kernel, cgroups, limits of the kernel
  containers.json  records and states     networks.json, volumes.json
  config.yaml      what the Compose files come to
  events.jsonl     what happened          last-up.json  where the time of the last up went
  logs/            the last lines of each container
  supervisor.log   what the supervisor had to say

Masked (***): contents of secrets and configs, all values of environments, values of keys that look
secret, passwords in URLs and arguments; the same values wherever a log repeats them. Logs may hold
other things that are nobody else's business: have a look before you send it.
"""


def report(workspace: Workspace, out: BinaryIO, *, sink: Sink) -> list[str]:
    """Write the archive (tar, gzip); the names of what is in it."""
    observed = workspace.observe()
    scrub = _Scrubber(workspace, observed)
    names = []
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in _parts(workspace, observed, scrub, sink=sink):
            entry = tarfile.TarInfo(f"pcompose-report-{workspace.name}/{name}")
            data = text.encode(errors="replace")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
            names.append(name)
    return names


def _parts(
    workspace: Workspace, observed: Observed, scrub: _Scrubber, *, sink: Sink
) -> Iterator[tuple[str, str]]:
    layout, project = workspace.layout, workspace.name
    yield "README.txt", README
    yield "machine.json", _json(_machine(workspace))
    yield "containers.json", scrub(_json([_container(c) for c in observed.containers]))
    mine = [asdict(n.record) for n in observed.networks.values() if n.record.project == project]
    yield "networks.json", scrub(_json(explain.masked(mine)))
    volumes = [asdict(v) for v in observed.volumes.values() if v.project == project]
    yield "volumes.json", scrub(_json(explain.masked(volumes)))
    yield "config.yaml", scrub(_config(workspace, sink=sink))
    yield "events.jsonl", scrub(_events(layout.project_journal(project)))
    yield "last-up.json", scrub(_text(f"{layout.project(project)}/last-up.json"))
    yield "supervisor.log", scrub(_text(layout.supervisor_log(project)))
    for container in observed.containers:
        record = container.record
        found = logs.read_log(layout.container_log(project, record.id), tail=LINES)
        lines = [f"{line.time:.3f} {line.stream} {line.text}" for line in found]
        yield f"logs/{record.name}-{record.id[:12]}.log", scrub("\n".join(lines) + "\n")


class _Scrubber:
    """Masks what is known to be secret wherever it stands."""

    def __init__(self, workspace: Workspace, observed: Observed) -> None:
        found = set()
        for container in observed.containers:
            environment = container.record.spec.get("environment") or {}
            found |= {str(v) for k, v in environment.items() if explain.looks_secret(k)}
        directory = workspace.layout.material(workspace.name)
        for entry in store.scan(directory):
            found |= _values(entry.path)
        wanted = {value for value in found if len(value) >= SHORTEST}
        self._values = sorted(wanted, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MASK)
            text = text.replace(json.dumps(value)[1:-1], MASK)
        return text


def _values(path: str) -> set[str]:
    """The content of a secret, whole and line by line."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_SECRET).decode(errors="replace")
    except OSError:
        return set()
    return {text, text.strip(), *(line.strip() for line in text.splitlines())}


def _container(container: ObservedContainer) -> dict[str, Any]:
    record = asdict(container.record)
    record["spec"] = _without_values(record["spec"])
    record["config"] = _without_values(record["config"])
    found: dict[str, Any] = explain.masked({"record": record, "status": asdict(container.status)})
    return found


def _without_values(value: Any) -> Any:
    """Plain data in which environments have only names."""
    if isinstance(value, Mapping):
        return {
            k: dict.fromkeys(v, MASK) if k == "environment" and isinstance(v, Mapping)
            else _without_values(v) for k, v in value.items()
        }  # fmt: skip
    if isinstance(value, list | tuple):
        return [_without_values(v) for v in value]
    return value


def _config(workspace: Workspace, *, sink: Sink) -> str:
    """The files as `config` prints them, or why they cannot be read."""
    try:
        declared = declared_if_any(workspace, sink=sink)
    except PcomposeError as error:
        return f"# {error.message}\n"
    if declared is None:
        return "# there is no file\n"
    tree = json.loads(dump.to_json(declared))
    for section in ("secrets", "configs"):
        for entry in (tree.get(section) or {}).values():
            if "content" in entry:
                entry["content"] = MASK
    return _json(explain.masked(_without_values(tree)))  # JSON is YAML


def _events(path: str) -> str:
    reader = journal.Reader(path)
    try:
        return "".join(json.dumps(explain.masked(entry)) + "\n" for entry in reader.past())
    finally:
        reader.close()


def _machine(workspace: Workspace) -> dict[str, Any]:
    release = _text("/etc/os-release")
    hierarchy = Hierarchy.detect()
    limits = ("kernel/pid_max", "user/max_user_namespaces", "fs/inotify/max_user_watches",
              "net/ipv4/ip_forward", "kernel/unprivileged_userns_clone")  # fmt: skip
    data = workspace.layout.projects()
    inside = [m for m in procfs.mountinfo() if data.startswith(m.target.rstrip("/") + "/")]
    filesystem = max(inside, key=lambda m: len(m.target)) if inside else None
    return {
        "pcompose": __version__, "python": platform.python_version(),
        "kernel": platform.release(), "machine": platform.machine(),
        "system": next((line.partition("=")[2].strip('"') for line in release.splitlines()
                        if line.startswith("PRETTY_NAME=")), ""),
        "uid": os.geteuid(), "processors": os.cpu_count(),
        "memory": _text("/proc/meminfo").splitlines()[:3],
        "cgroup controllers": hierarchy.controllers(),
        "security modules": _text("/sys/kernel/security/lsm").strip(),
        "file systems": procfs.filesystems(),
        "data on": getattr(filesystem, "fstype", ""),
        "sysctl": {name: _text(f"/proc/sys/{name}").strip() for name in limits},
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 22)
    except OSError:
        return ""


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"


def write(workspace: Workspace, path: str, *, sink: Sink) -> list[str]:
    """The archive as a file that only its owner can read; StateError where it cannot be made."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600),
                  "wb") as file:  # fmt: skip
            return report(workspace, file, sink=sink)
    except OSError as exc:
        raise StateError(f"cannot write {path}: {exc.strerror}") from exc
