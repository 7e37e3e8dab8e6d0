"""The commands: options in, output and exit code out; what they do is in the modules they call,
which each command imports for itself.
"""

from __future__ import annotations

import os
import sys

from orchestrator.linux import jsontext, procfs
from orchestrator.runtime.oci.config import process_of, read_json, resources_of
from orchestrator.runtime.oci.containers import Containers, default_root
from orchestrator.runtime.oci.faults import OciError
from orchestrator.runtime.oci.signals import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.runtime.oci.creation import Wishes
    from orchestrator.runtime.oci.options import Options

    Warn = Callable[[str], None]


def run(options: Options, *, root: str, by_systemd: bool, warn: Warn) -> int:
    """Carry out the command; OciError.  `by_systemd` is the global option --systemd-cgroup."""
    containers = Containers(root or default_root())
    if by_systemd:
        options.add("--systemd-cgroup", "")
    command = COMMANDS[options.command]
    return command(options, containers, warn)


def _create(options: Options, containers: Containers, warn: Warn) -> int:
    from orchestrator.runtime.oci.creation import Creation

    Creation(containers, _wishes(options), warn=warn).create(options.id)
    return 0


def _wishes(options: Options, *, terminal: bool = False) -> Wishes:
    from orchestrator.runtime.oci.creation import Wishes

    return Wishes(
        bundle=options.text("--bundle"), console_socket=options.text("--console-socket"),
        pid_file=options.text("--pid-file"), preserve_fds=options.number("--preserve-fds"),
        no_pivot=options.has("--no-pivot"), by_systemd=options.has("--systemd-cgroup"),
        new_keyring=not options.has("--no-new-keyring"),
        terminal=terminal)  # fmt: skip


def _start(options: Options, containers: Containers, warn: Warn) -> int:
    from orchestrator.runtime.oci import lifecycle

    lifecycle.start(containers.open_locked(options.id), warn=warn)
    return 0


def _run(options: Options, containers: Containers, warn: Warn) -> int:
    from orchestrator.runtime.oci import foreground, lifecycle
    from orchestrator.runtime.oci.creation import Creation

    detach = options.has("--detach")
    wishes = _wishes(options, terminal=not detach and not options.text("--console-socket"))
    creation = Creation(containers, wishes, warn=warn)
    container = creation.create(options.id)
    with foreground.Signals() as signals:
        try:
            lifecycle.start(container, warn=warn)
        except OciError:
            if os.path.isdir(container.directory):
                lifecycle.delete(container, force=True, warn=warn)
            raise
        if detach:
            return 0
        container.unlock()
        code = foreground.wait(container.pid, creation.master, signals)
    if not options.has("--keep"):
        container.lock()
        lifecycle.delete(container, force=True, warn=warn)
    return code


def _exec(options: Options, containers: Containers, warn: Warn) -> int:
    from orchestrator.runtime.oci import foreground
    from orchestrator.runtime.oci.execution import Execution

    container = containers.open(options.id)
    wanted = _process(options, container)
    detach = options.has("--detach")
    socket = options.text("--console-socket")
    execution = Execution(
        container, wanted, console_socket=socket, keep_terminal=not detach and not socket,
        preserve_fds=options.number("--preserve-fds"), group=options.text("--cgroup"), warn=warn)
    with foreground.Signals() as signals:
        done = execution.run(pid_file=options.text("--pid-file"))
        return 0 if detach else foreground.wait(done.pid, done.master, signals)


def _process(options: Options, container: Any) -> dict[str, Any]:
    from orchestrator.runtime.oci.execution import process_for

    if options.text("--process"):
        return process_of(read_json(options.text("--process")))
    argv = options.positional[1:]
    if argv[:1] == ["--"]:
        del argv[0]
    if not argv:
        raise OciError("exec: the command is missing")
    return process_for(
        container, argv=argv, cwd=options.text("--cwd"), environment=options.list("--env"),
        user=options.text("--user"), additional_gids=options.list("--additional-gids"),
        capabilities=options.list("--cap"), terminal=options.has("--tty"),
        no_new_privileges=options.has("--no-new-privs"))  # fmt: skip


def _state(options: Options, containers: Containers, _: Warn) -> int:
    container = containers.open(options.id)
    state = container.state()
    state |= {"rootfs": container.record["rootfs"], "created": container.record["created"],
              "owner": str(container.record["owner"])}
    _print(state)
    return 0


def _kill(options: Options, containers: Containers, _: Warn) -> int:
    from orchestrator.runtime.oci import lifecycle

    word = options.positional[1] if len(options.positional) > 1 else "TERM"
    container = containers.open_locked(options.id)
    lifecycle.kill(container, signal_number(word), everybody=options.has("--all"))
    return 0


def _delete(options: Options, containers: Containers, warn: Warn) -> int:
    from orchestrator.runtime.oci import lifecycle

    force = options.has("--force")
    try:
        container = containers.open_locked(options.id)
    except OciError:
        if force and not containers.exists(options.id):  # nothing is left of it: that was wanted
            return 0
        raise
    lifecycle.delete(container, force=force, warn=warn)
    return 0


def _pause(options: Options, containers: Containers, _: Warn) -> int:
    from orchestrator.runtime.oci import lifecycle

    lifecycle.pause(containers.open_locked(options.id))
    return 0


def _resume(options: Options, containers: Containers, _: Warn) -> int:
    from orchestrator.runtime.oci import lifecycle

    lifecycle.resume(containers.open_locked(options.id))
    return 0


def _update(options: Options, containers: Containers, warn: Warn) -> int:
    from orchestrator.runtime.oci import lifecycle

    path = options.text("--resources")
    if path:
        document = jsontext.decode(sys.stdin.read()) if path == "-" else read_json(path)
        resources = resources_of(document)
    else:
        resources = resources_of(_resources(options))
    lifecycle.update(containers.open_locked(options.id), resources, warn=warn)
    return 0


_UPDATES = (  # option -> where it lies in `resources`
    ("--blkio-weight", "blockIO", "weight"), ("--cpu-period", "cpu", "period"),
    ("--cpu-quota", "cpu", "quota"), ("--cpu-share", "cpu", "shares"),
    ("--cpu-burst", "cpu", "burst"), ("--cpu-rt-period", "cpu", "realtimePeriod"),
    ("--cpu-rt-runtime", "cpu", "realtimeRuntime"), ("--cpuset-cpus", "cpu", "cpus"),
    ("--cpuset-mems", "cpu", "mems"), ("--memory", "memory", "limit"),
    ("--memory-reservation", "memory", "reservation"), ("--memory-swap", "memory", "swap"),
    ("--pids-limit", "pids", "limit"),
)  # fmt: skip
_SIZES = ("--memory", "--memory-reservation", "--memory-swap")


def _resources(options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, group, key in _UPDATES:
        text = options.text(option)
        if text:
            value = text if option.startswith("--cpuset") else _size(text, option)
            found.setdefault(group, {})[key] = value
    return found


def _size(text: str, option: str) -> int:
    """A number, of bytes with k, m or g behind it."""
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(text[-1].lower(), 1)
    digits = text[:-1] if factor > 1 else text
    if not digits.lstrip("-").isdigit() or (factor > 1 and option not in _SIZES):
        raise OciError(f"option {option} needs a number, not {text!r}")
    return int(digits) * factor


def _list(options: Options, containers: Containers, _: Warn) -> int:
    rows = []
    for container in containers.all():
        state = container.state()
        rows.append({
            "ociVersion": state["ociVersion"], "id": container.id, "pid": state.get("pid", 0),
            "status": state["status"], "bundle": state["bundle"],
            "rootfs": container.record["rootfs"], "created": container.record["created"],
            "annotations": state["annotations"], "owner": str(container.record["owner"]),
        })  # fmt: skip
    if options.has("--quiet"):
        sys.stdout.write("".join(f"{row['id']}\n" for row in rows))
    elif _format(options) == "json":
        _print(rows)
    else:
        _table(("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"), [
            tuple(str(row[key.lower()]) for key in (
                "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")) for row in rows])
    return 0


def _ps(options: Options, containers: Containers, _: Warn) -> int:
    from orchestrator.runtime.oci import lifecycle

    pids = lifecycle.processes(containers.open(options.id))
    if _format(options) == "json":
        _print(pids)
    else:
        _table(("PID", "PPID", "COMMAND"), [
            (str(pid), str(procfs.parent(pid)), procfs.command_line(pid)) for pid in pids])
    return 0


def _format(options: Options) -> str:
    form = options.text("--format") or "table"
    if form not in ("table", "json"):
        raise OciError(f"--format must be table or json, not {form!r}")
    return form


def _events(options: Options, containers: Containers, _: Warn) -> int:
    from orchestrator.runtime.oci import lifecycle

    container = containers.open(options.id)
    interval = options.text("--interval").removesuffix("s") or "5"
    if not interval.replace(".", "", 1).isdigit() or float(interval) <= 0:
        raise OciError("--interval needs seconds")
    while True:
        _print(lifecycle.stats(container))
        if options.has("--stats") or lifecycle.wait_until_stopped(container, float(interval)):
            return 0


def _features(options: Options, containers: Containers, _: Warn) -> int:
    from orchestrator.runtime.oci.features import features

    _print(features())
    return 0


def _spec(options: Options, containers: Containers, _: Warn) -> int:
    from orchestrator.runtime.oci.template import template

    path = os.path.join(options.text("--bundle") or ".", "config.json")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o666)
    except FileExistsError:
        raise OciError(f"{path} exists already") from None
    with os.fdopen(fd, "w") as file:
        import json  # for the indentation that people want to edit

        json.dump(template(rootless=options.has("--rootless")), file, indent=2)
        file.write("\n")
    return 0


def _print(value: object) -> None:
    sys.stdout.write(jsontext.encode(value) + "\n")
    sys.stdout.flush()


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        line = "   ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")


COMMANDS = {
    "create": _create, "delete": _delete, "events": _events, "exec": _exec,
    "features": _features, "kill": _kill, "list": _list, "pause": _pause, "ps": _ps,
    "resume": _resume, "run": _run, "spec": _spec, "start": _start, "state": _state,
    "update": _update,
}  # fmt: skip
