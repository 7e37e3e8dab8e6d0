"""Flags that several commands share, as policies of planning; refusals of what makes no sense."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli.grammar import Arguments
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.events import Event, Sink
    from orchestrator.plan.plan import Plan
    from orchestrator.plan.policy import Build, DownPolicy, Ports, Pull, Terms, UpPolicy


def refuse_together(args: Arguments, one: str, other: str) -> None:
    """UsageError where both switches are on."""
    if args.has(one) and args.has(other):
        raise UsageError(f"--{one} and --{other} are incompatible")


def up_policy(args: Arguments, *, start: bool = True) -> UpPolicy:
    """The policy that the flags of `up`, `create` and `plan` mean."""
    from orchestrator.plan.policy import UpPolicy

    ignore = os.environ.get("COMPOSE_IGNORE_ORPHANS", "").lower() in ("1", "t", "true")
    if ignore and args.has("remove-orphans"):
        raise UsageError("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans")
    never = args.has("no-recreate")
    force = args.has("force-recreate")
    return UpPolicy(
        services=tuple(args.operands),
        with_dependencies=not args.has_if_known("no-deps"),
        recreate="never" if never else "force" if force else "diverged",
        recreate_dependencies="never" if never else
        "force" if args.has_if_known("always-recreate-deps") else "diverged",
        scale=_scale(args.all("scale")),
        ports=_ports(args),
        remove_orphans=args.has("remove-orphans"),
        ignore_orphans=ignore,
        renew_anonymous_volumes=args.has_if_known("renew-anon-volumes"),
        build=build_policy(args),
        pull=pull_policy(args),
        start=start and not args.has_if_known("no-start"),
        timeout=args.number("timeout"),
        terms=_terms(args) if args.knows("ttl") else None,
    )  # fmt: skip


def _terms(args: Arguments) -> Terms | None:
    """How long the project is to live, where that was said."""
    from orchestrator.cli import moments
    from orchestrator.plan.policy import Terms

    ttl, idle = (moments.duration(args.text(name), flag=name) for name in ("ttl", "idle"))
    holder = args.number("while-pid")
    if idle == 0:
        raise UsageError("--idle must be more than 0", hint="`--ttl 0` takes a lease away")
    if ttl is None and idle is None and holder is None:
        return None
    return Terms(ttl=ttl, idle=idle, holder=holder)


def _ports(args: Arguments) -> Ports:
    text = args.text("ports") if args.knows("ports") else None
    match text or "fixed":
        case "fixed":
            return "fixed"
        case "auto":
            return "auto"
        case "none":
            return "none"
        case other:
            raise UsageError(f'invalid value for --ports: "{other}"', hint="fixed, auto or none")


def pull_policy(args: Arguments) -> Pull:
    """What --pull means, where a command has it."""
    text = args.text("pull") if args.knows("pull") else None
    match text or "policy":
        case "policy":
            return ""
        case "always":
            return "always"
        case "missing" | "if_not_present":
            return "missing"
        case "never":
            return "never"
        case "build" if args.command == "create":
            return "build"
        case other:
            choices = "always, missing, build or never" if args.command == "create" else \
                "always, missing or never"
            raise UsageError(f'invalid --pull option "{other}"', hint=choices)


def build_policy(args: Arguments) -> Build:
    """What --build and --no-build mean, where a command has them."""
    always, never = args.has_if_known("build"), args.has_if_known("no-build")
    if always and never:
        raise UsageError("--build and --no-build are incompatible")
    return "always" if always else "never" if never else "missing"


def without_build_output(sink: Sink, *, everything: bool = False) -> Sink:
    """The sink without steps of builds and what they write; with `everything` without progress
    too."""
    from orchestrator.events import BuildOutput, BuildStep, Progress

    left_out = (BuildStep, BuildOutput, Progress) if everything else (BuildStep, BuildOutput)

    def quiet(event: Event) -> None:
        if not isinstance(event, left_out):
            sink(event)

    return quiet


def build_sink(args: Arguments, sink: Sink) -> Sink:
    """The sink, without the output of builds where --quiet-build is given, and without the progress
    of downloads where --quiet-pull is."""
    quiet = without_build_output(sink) if args.has_if_known("quiet-build") else sink
    return without_downloads(quiet) if args.has("quiet-pull") else quiet


def without_downloads(sink: Sink) -> Sink:
    """The sink without progress of pulls and pushes that go well."""
    from orchestrator.events import Progress

    texts = ("Pulling", "Pulled", "Pushing", "Pushed")

    def quiet(event: Event) -> None:
        if not (isinstance(event, Progress) and event.kind == "Image" and event.text in texts):
            sink(event)

    return quiet


def build_arguments(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`; `NAME` alone takes our own value, and is left out where we have none."""
    return {name: value for name, value in variables(texts).items() if value is not None}


def _scale(texts: Sequence[str]) -> dict[str, int]:
    found = {}
    for text in texts:
        name, equals, count = text.partition("=")
        if not (name and equals and count.isdecimal() and len(count) < 9):
            raise UsageError(f'invalid --scale option "{text}". Should be SERVICE=NUM')
        found[name] = int(count)
    return found


def variables(texts: Sequence[str]) -> dict[str, str | None]:
    """`NAME=VALUE`; `NAME` alone takes our own value, None where we have none."""
    found: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"bad variable {text!r}", hint="NAME=VALUE or NAME")
        found[name] = value if equals else os.environ.get(name)
    return found


DRY_RUN = "DRY-RUN MODE - "


def shown(call: Invocation, plan: Callable[[], Plan]) -> bool:
    """Whether this is a dry run: then `plan` is printed, each line marked, and nothing is done."""
    if not call.is_dry_run:
        return False
    from orchestrator.cli.plans import show

    show(call.out, plan(), mark=DRY_RUN)
    return True


def told(call: Invocation, what: str) -> bool:
    """As `shown` for what has no plan: `what` would be done."""
    if call.is_dry_run:
        call.out.line(f"{DRY_RUN}{what}")
    return call.is_dry_run


def previewed(call: Invocation, verb: str, policy: DownPolicy | None = None, **more: Any) -> bool:
    """As `shown`, of what down, stop, start, restart, rm or kill (the `verb`) would do."""
    from orchestrator.plan.policy import DownPolicy

    wish = policy or DownPolicy(services=tuple(call.args.operands))
    return shown(call, lambda: call.project.preview(verb, wish, **more))
