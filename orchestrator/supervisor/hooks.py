"""Hooks: commands that belong to the starts and stops of a service's containers.

post_start and pre_stop run in the container itself; pre_start hooks run in containers of their own,
made after the first replica with its volumes and, as it does not run yet, its addresses.  What a
hook writes is told as it comes; the end of it is part of the error.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from orchestrator import names
from orchestrator.dataclass import replace
from orchestrator.errors import HookError, PcomposeError
from orchestrator.events import HookOutput
from orchestrator.linux import caps
from orchestrator.runtime import logs
from orchestrator.runtime.launch import exec_request, launch_error
from orchestrator.runtime.spec import ContainerSpec, Hook, Rootfs
from orchestrator.state.records import ContainerRecord
from orchestrator.supervisor import probes
from orchestrator.supervisor.link import KeeperLost

if TYPE_CHECKING:
    from orchestrator.events import Sink
    from orchestrator.supervisor.lanes import Lane
    from orchestrator.supervisor.link import Conversation

TAIL_LINES = 10
TAIL_BYTES = 2048
_CHUNK = 1 << 16
_END_PATIENCE = 1.0
_LONGEST_LINE = 1 << 14

Tell = Callable[[str], None]


class Lines:
    """Bytes as they come, told line by line; the last lines are kept."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._rest = b""
        self._last: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, data: bytes) -> None:
        """More output; a line without end is broken."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._take(line)
        if len(self._rest) > _LONGEST_LINE:
            self.finish()

    def finish(self) -> None:
        """Nothing more comes: what is left is a line too."""
        if self._rest:
            self._take(self._rest)
            self._rest = b""

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self._last.append(text)
        self._tell(text)

    @property
    def tail(self) -> list[str]:
        """The last ten lines, the last 2048 characters of them."""
        return tail(list(self._last))


def tail(lines: list[str]) -> list[str]:
    """What of the output is shown in an error."""
    text = "\n".join(lines[-TAIL_LINES:])[-TAIL_BYTES:]
    return text.split("\n") if text else []


# in the container


async def execute_all(lane: Lane, phase: str, *, emit: Sink) -> None:
    """The container's hooks of `phase`, one after the other; HookError.  A container that ends
    meanwhile makes its pre_stop hooks needless and its post_start hooks fail."""
    hooks: tuple[Hook, ...] = getattr(lane.spec, phase)
    record = lane.record

    def tell(text: str) -> None:
        emit(HookOutput(name=record.name, service=record.service, index=record.index, text=text))

    for number, hook in enumerate(hooks):
        lines = Lines(tell)
        code = await _execute(lane, hook, lines) if lane.is_running else None
        if code == 0:
            continue
        if await _has_ended(lane):
            if phase == "pre_stop" or record.oneoff:
                return
            raise _failure(lane, phase, number, "was not run to its end: the container has exited "
                           f"({lane.status.exit_code})", lines.tail)  # fmt: skip
        raise _failure(lane, phase, number, f"hook exited with status {code}", lines.tail)


async def _has_ended(lane: Lane) -> bool:
    """Whether the hook ended because its container did, which is noticed a moment later."""
    if lane.process is not None and lane.process.is_alive():
        return False
    with anyio.move_on_after(_END_PATIENCE):
        while lane.is_running:
            await lane.changed()
    return not lane.is_running


def _failure(lane: Lane, phase: str, number: int, what: str, output: list[str]) -> HookError:
    hook: Hook = getattr(lane.spec, phase)[number]
    place = f" ({hook.origin})" if hook.origin else ""
    said = "".join(f"\n    {line}" for line in output)
    return HookError(f"{lane.record.name}: {phase}[{number}] {what}{place}{':' if said else ''}"
                     f"{said}")  # fmt: skip


async def _execute(lane: Lane, hook: Hook, lines: Lines) -> int | None:
    """The exit code of the command, its output in `lines`; None where it could not be known."""
    link = lane.project.link
    key = link.new_key("hook")
    request = exec_request(
        lane.spec, lane.status.pid, exec_id=key, hierarchy=lane.project.hierarchy, argv=hook.argv,
        environment=hook.environment, user=hook.user, cwd=hook.cwd, tty=False,
        privileged=hook.privileged, capture=False,
    )  # fmt: skip
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    conversation = link.open(key)
    try:
        link.send(request, [null, writer, writer])
        os.close(writer)
        writer = -1
        return await _heard(lane, conversation, reader, lines)
    except KeeperLost:
        raise HookError(f"lost a hook of {lane.record.name}: the keeper ended") from None
    finally:
        link.close(key)
        for fd in (null, reader, writer):
            if fd >= 0:
                os.close(fd)


async def _heard(lane: Lane, conversation: Conversation, reader: int, lines: Lines) -> int | None:
    """Until the command has ended; what its children write later is nobody's."""
    answer, _ = await conversation.next()
    if answer.get("event") == "exec_failed":
        error = launch_error(answer, subject=lane.record.name)
        lines.feed(error.message.encode())
        lines.finish()
        return error.exit_code
    pid = int(answer.get("pid") or 0)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_listen, reader, lines)
            while answer.get("event") != "exec_exited":
                answer, _ = await conversation.next()
            group.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        probes.kill(pid)
        raise
    except BaseExceptionGroup as group_error:
        raise _only(group_error) from None
    _drain(reader, lines)
    lines.finish()
    code = answer.get("exit_code")
    return code if isinstance(code, int) else None


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _only(first) if isinstance(first, BaseExceptionGroup) else first


async def _listen(reader: int, lines: Lines) -> None:
    while True:
        await anyio.wait_readable(reader)
        if not _drain(reader, lines):
            return


def _drain(reader: int, lines: Lines) -> bool:
    """Take what has come; whether more may come."""
    try:
        while data := os.read(reader, _CHUNK):
            lines.feed(data)
    except BlockingIOError:
        return True
    return False


# before the first start


def record(parent: Lane, number: int, *, directory: Callable[[str, str], str]) -> ContainerRecord:
    """The container of a pre_start hook of `parent`, which does not run."""
    made, id_ = parent.record, names.new_id()
    name = names.hook_name(made.name, number)
    hook = parent.spec.pre_start[number]
    gone = (names.LABEL_NUMBER, names.LABEL_CONFIG_HASH)
    labels = {k: v for k, v in made.labels.items() if k not in gone}
    labels |= {names.LABEL_HOOK: "pre_start", names.LABEL_ONEOFF: "False"}
    spec = _spec(parent.spec, hook, id_=id_, name=name, base=directory(made.project, id_))
    return replace(
        made, id=id_, name=name, index=0, oneoff=True, created_at=time.time(), config_hash="",
        config={}, image=hook.image, image_id=hook.image_id, labels=labels, depends_on={},
        anonymous_volumes={}, spec=replace(spec, labels=labels).to_json(),
    )  # fmt: skip


def _spec(parent: ContainerSpec, hook: Hook, *, id_: str, name: str, base: str) -> ContainerSpec:
    hostname = names.short(id_)
    everything = {"capabilities": caps.NAMES, "seccomp": False, "privileged": True}
    return replace(
        parent, id=id_, name=name, index=0, oneoff=True, argv=hook.argv, hostname=hostname,
        environment={**hook.environment, "HOSTNAME": hostname}, user=hook.user, cwd=hook.cwd,
        rootfs=Rootfs(lowers=hook.lowers, upper=f"{base}/upper", work=f"{base}/work",
                      target=f"{base}/root", host_usr=hook.host_usr),
        endpoints=tuple(replace(e, names=(name, hostname)) for e in parent.endpoints), ports=(),
        healthcheck=None, restart="no", init=False, tty=False, stdin_open=False,
        pre_start=(), post_start=(), pre_stop=(), origin=hook.origin, command_origin=hook.origin,
        **(everything if hook.privileged else {}),  # type: ignore[arg-type]  # of differing types
    )  # fmt: skip


async def run_to_end(lane: Lane, parent: Lane, number: int, *, emit: Sink) -> None:
    """Start the hook's container, wait for its end, and remove it if it has succeeded; one that
    failed stays to be looked at.  HookError."""
    try:
        await lane.start()
        while lane.is_running:
            await lane.changed()
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await _discard(lane)
        raise
    said = _said(lane)
    for line in said:
        emit(HookOutput(name=parent.record.name, service=parent.record.service,
                        index=parent.record.index, text=line.text))  # fmt: skip
    code = lane.status.exit_code
    if code != 0:
        errors = [line.text for line in said if line.stream == "stderr"]
        output = tail(errors or [line.text for line in said])
        error = _failure(parent, "pre_start", number, f"hook exited with status {code}", output)
        kept = names.short(lane.id)
        raise HookError(error.message, hint=f"its container {kept} ({lane.record.name}) is kept "
                        "for inspection until the next start")  # fmt: skip
    await lane.remove(volumes=False)


async def _discard(lane: Lane) -> None:
    try:
        await lane.remove(volumes=False, force=True)
    except PcomposeError:
        return  # the next start clears it away


def _said(lane: Lane) -> list[logs.LogLine]:
    directory = lane.project.layout.container_log(lane.project.name, lane.id)
    try:
        return list(logs.read_log(directory, tail=1000))
    except OSError:
        return []
