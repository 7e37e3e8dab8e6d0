"""`pcompose config`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, lacking, option, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="config", usage="config [OPTIONS] [SERVICE...]",
    summary="Check the files and print what they mean",
    flags=(
        switch("environment", "", "Print the variables that the files see"),
        option("format", "", "yaml or json"),
        option("hash", "", "Print the configuration hash of services, or of all with *"),
        switch("images", "", "Print image names"),
        lacking("lock-image-digests"),
        lacking("models"),
        switch("networks", "", "Print network names"),
        lacking("no-consistency"),
        lacking("no-env-resolution"),
        lacking("no-interpolate"),
        lacking("no-normalize"),
        lacking("no-path-resolution"),
        option("output", "o", "Write to this file", metavar="file"),
        switch("profiles", "", "Print profile names"),
        switch("quiet", "q", "Only check"),
        lacking("resolve-image-digests"),
        switch("services", "", "Print service names, dependencies first"),
        lacking("variables"),
        switch("volumes", "", "Print volume names"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Print one aspect, or everything."""
    args = call.args
    model = call.project.model
    for message in model.warnings:
        call.out.warn(message)
    text = _text(call)
    if args.has("quiet"):
        return 0
    path = args.text("output")
    if path is None:
        call.out.stdout.write(text)
        return 0
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    return 0


def _text(call: Invocation) -> str:
    args, project = call.args, call.project
    model = project.model
    if args.has("services"):
        return _lines(project.ordered_services())
    if args.has("volumes"):
        return _lines(sorted(model.volumes))
    if args.has("networks"):
        return _lines(sorted(model.networks))
    if args.has("images"):
        return _lines(sorted({service.image for service in model.services.values()}))
    if args.has("profiles"):
        every = (*model.services.values(), *model.disabled.values())
        return _lines(sorted({profile for service in every for profile in service.profiles}))
    if args.has("environment"):
        return _lines(f"{name}={value}" for name, value in project.variables().items())
    wanted = args.text("hash")
    if wanted is not None:
        return _lines(_hashes(call, wanted))
    return project.config(format=args.text("format") or "yaml", services=args.operands)


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)


def _hashes(call: Invocation, wanted: str) -> list[str]:
    known = call.project.hashes()
    names = sorted(call.project.model.services) if wanted == "*" else wanted.split(",")
    for name in names:
        if name not in known:
            raise UsageError(f"no such service: {name}")
    return [f"{name} {known[name]}" for name in names]
