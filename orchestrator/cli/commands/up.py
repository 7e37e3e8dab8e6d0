"""`pcompose up`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import (
    Arguments,
    Command,
    alias,
    lacking,
    many,
    number,
    option,
    switch,
)
from orchestrator.cli.policies import build_sink, refuse_together, shown, up_policy
from orchestrator.cli.questions import trust_included, with_renewed_volumes
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.attach import Printer
    from orchestrator.cli.main import Invocation
    from orchestrator.events import Event, Sink
    from orchestrator.plan.policy import UpPolicy


COMMAND = Command(
    name="up", usage="up [OPTIONS] [SERVICE...]", summary="Create and start containers",
    examples=(
        ("in the background, until it is ready", "up -d --wait"),
        ("run tests and return their code", "up --exit-code-from tests"),
        ("and bring each save into the containers", "up --watch"),
    ),
    flags=(
        switch("abort-on-container-exit", "", "Stop everything when a container ends"),
        switch("abort-on-container-failure", "", "Stop everything when a container fails"),
        switch("always-recreate-deps", "", "Recreate dependencies too"),
        many("attach", "", "Show the output of these services only", metavar="service"),
        switch("attach-dependencies", "", "Show the output of dependencies too"),
        switch("build", "", "Build images first, those that are there already too"),
        switch("detach", "d", "Run in the background"),
        option("exit-code-from", "", "Return the exit code of this service's container",
               metavar="service"),
        switch("force-recreate", "", "Recreate containers that have not changed"),
        option("idle", "", "Take it down when nothing has used it for so long", metavar="duration"),
        lacking("menu", "", "there are no keys to press; `up -d`, `watch` and `stop` in another "
                "terminal do what they would"),
        many("no-attach", "", "Do not show the output of these services", metavar="service"),
        switch("no-build", "", "Build nothing; a missing image is an error"),
        switch("no-color", "", "Monochrome output"),
        switch("no-deps", "", "Leave dependencies alone"),
        switch("no-log-prefix", "", "No prefix before lines"),
        switch("no-recreate", "", "Leave existing containers as they are"),
        switch("no-start", "", "Create only"),
        option("pull", "", "Pull images first: always, missing or never", metavar="policy"),
        switch("quiet-build", "", "No output of builds"),
        switch("quiet-pull", "", "No progress of downloads"),
        switch("remove-orphans", "", "Remove containers of services that are not in the files"),
        switch("renew-anon-volumes", "V", "Fresh anonymous volumes"),
        option("ports", "", "Host ports: fixed, auto (another where one is taken) or none"),
        many("scale", "", "Number of replicas", metavar="SERVICE=N"),
        number("timeout", "t", "Seconds until a container is killed", metavar="seconds"),
        switch("timestamps", "", "Time stamps before lines"),
        option("ttl", "", "Take it down after so long (30m); 0: it stays", metavar="duration"),
        number("while-pid", "", "Take it down when this process has ended", metavar="pid"),
        switch("wait", "", "Wait until services run or are healthy; detached"),
        number("wait-timeout", "", "Most seconds to wait", metavar="seconds"),
        switch("watch", "w", "Bring changes of files into containers meanwhile, as `watch` does"),
        switch("yes", "y", "Answer yes to questions"),
        alias("y", "yes"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Bring it up; attached unless told otherwise."""
    args = call.args
    _check(args)
    policy = up_policy(args)
    if shown(call, lambda: call.project.plan(policy)):
        return 0
    trust_included(call)
    policy = with_renewed_volumes(call, policy)
    if args.has("detach") or args.has("wait") or args.has("no-start"):
        return _detached(call, args, policy)
    return _attached(call, args, policy)


def _check(args: Arguments) -> None:
    aborts = ("abort-on-container-exit", "abort-on-container-failure")
    refuse_together(args, "force-recreate", "no-recreate")
    refuse_together(args, "no-recreate", "renew-anon-volumes")
    refuse_together(args, "no-build", "watch")
    refuse_together(args, "always-recreate-deps", "no-recreate")
    if all(map(args.has, aborts)):
        raise UsageError("--abort-on-container-failure cannot be combined with "
                         "--abort-on-container-exit")
    if args.all("attach") and args.has("attach-dependencies"):
        raise UsageError("cannot combine --attach and --attach-dependencies")
    if (args.number("wait-timeout") or 0) < 0:
        raise UsageError("--wait-timeout must be a non-negative integer")
    for word in ("detach", "wait"):
        attached = args.all("attach") or args.has("attach-dependencies") or args.has("watch")
        if args.has(word) and (attached or any(map(args.has, aborts))):
            raise UsageError(
                f"--{word} cannot be combined with --abort-on-container-exit, "
                "--abort-on-container-failure, --attach, --attach-dependencies or --watch"
            )


def _detached(call: Invocation, args: Arguments, policy: UpPolicy) -> int:
    seconds = args.number("wait-timeout") or None
    with call.out.renderer("up") as renderer:
        call.project.up(policy, wait=args.has("wait"), wait_timeout=seconds,
                        sink=build_sink(args, renderer))  # fmt: skip
    return 0


def _attached(call: Invocation, args: Arguments, policy: UpPolicy) -> int:
    from orchestrator.cli import attach

    abort = "exit" if args.has("abort-on-container-exit") or args.text("exit-code-from") else ""
    abort = abort or ("failure" if args.has("abort-on-container-failure") else "")
    renderer = call.out.renderer("up")
    session = call.project.up_attached(
        policy, sink=build_sink(args, renderer), abort=abort,
        attach=tuple(args.all("attach")),
        no_attach=tuple(args.all("no-attach")), timeout=args.number("timeout"),
        attach_dependencies=args.has("attach-dependencies"),
        exit_code_from=args.text("exit-code-from"), stay=args.has("watch"),
    )  # fmt: skip
    printer = attach.Printer(call.out, colour=not args.has("no-color"),
                             prefix=not args.has("no-log-prefix"),
                             stamps=args.has("timestamps"))  # fmt: skip
    with session:
        with renderer:
            session.create()
        session.report_to(_between_lines(call, printer))
        for name in session.names:
            printer.expect(name)
        if not call.out.style.is_json:
            call.out.line(f"Attaching to {', '.join(session.names)}")
        session.start()
        with _watching(call, args, _between_lines(call, printer)):
            return attach.serve(session, printer, call.out, project=call.project.name)


@contextmanager
def _watching(call: Invocation, args: Arguments, sink: Sink) -> Iterator[None]:
    """A watch beside the session, in a thread of its own."""
    if not args.has("watch"):
        yield
        return
    from threading import Thread

    with call.live.watch(args.operands, sink=build_sink(args, sink)) as watching:
        thread = Thread(target=watching.run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            watching.end()
            thread.join()


def _between_lines(call: Invocation, printer: Printer) -> Sink:
    """Progress and hooks' output, for a screen full of logs."""
    from orchestrator.events import HookOutput, Noted

    renderer, project = call.out.line_renderer(), call.project.name

    def sink(event: Event) -> None:
        if isinstance(event, HookOutput):
            printer.hook(event, project=project)
        elif isinstance(event, Noted):
            printer.note(event)
        else:
            renderer(event)

    return sink
