"""`pcompose config`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, option, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.grammar import Arguments
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.configuration import Configuration


COMMAND = Command(
    name="config", usage="config [OPTIONS] [SERVICE...]",
    summary="Check the files and print what they mean",
    examples=(
        ("is the file right?", "config -q"),
        ("who said so?", "config --explain services.web.environment.LEVEL"),
    ),
    flags=(
        switch("environment", "", "Print the variables that the files see"),
        option("explain", "", "Say why the value at this path is what it is", metavar="path"),
        option("format", "", "yaml or json"),
        option("hash", "", "Print the configuration hash of services, or of all with *"),
        switch("images", "", "Print image names"),
        switch("lock-image-digests", "", "Print an override file that pins images to digests"),
        switch("models", "", "Print model names"),
        switch("networks", "", "Print network names"),
        switch("no-consistency", "", "Do not check that the parts fit together"),
        switch("no-env-resolution", "", "Let env_file and label_file be missing"),
        switch("no-interpolate", "", "Leave variables as they are written"),
        switch("no-normalize", "", "Leave out what follows from the rest"),
        switch("no-path-resolution", "", "Leave paths relative"),
        option("output", "o", "Write to this file", metavar="file"),
        switch("profiles", "", "Print profile names"),
        switch("quiet", "q", "Only check"),
        switch("resolve-image-digests", "", "Pin images to the digests of the store"),
        switch("services", "", "Print service names, dependencies first"),
        switch("variables", "", "Print the variables that the files use, with defaults"),
        switch("volumes", "", "Print volume names"),
    ),
)  # fmt: skip
NAMES = ("services", "volumes", "networks", "models", "profiles", "images", "variables")
"""What no env file has a say in: it may be missing."""
PHASES = {
    "no-consistency": "consistency", "no-env-resolution": "environment",
    "no-interpolate": "interpolation", "no-normalize": "normalization",
    "no-path-resolution": "paths",
}  # fmt: skip


def run(call: Invocation) -> int:
    """Print one aspect, or everything.  With --format json a failure is told as JSON too."""
    args = call.args
    if args.text("format") == "json":
        call.out.fail_as_json()
    seen = call.project.configuration(
        services=args.operands, skip=_skipped(call),
        all_resources=call.root.has("all-resources"),
        pinned=args.has("resolve-image-digests") or args.has("lock-image-digests"),
    )  # fmt: skip
    text = _text(seen, args)
    for message in seen.warnings:
        call.out.warn(message)
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


def _skipped(call: Invocation) -> set[str]:
    skipped = {phase for flag, phase in PHASES.items() if call.args.has(flag)}
    if call.is_compatible:
        skipped.add("normalization")
    if any(call.args.has(flag) for flag in NAMES):
        skipped.add("environment")
    return skipped


def _text(seen: Configuration, args: Arguments) -> str:
    """The first aspect that is asked for, in the order of docker compose."""
    names: dict[str, Callable[[], Iterable[str]]] = {
        "services": seen.services, "volumes": seen.volumes, "networks": seen.networks,
        "models": seen.models,
    }  # fmt: skip
    path = args.text("explain")
    if path is not None:
        return seen.explanation(path, args.text("format") or "text")
    for flag, found in names.items():
        if args.has(flag):
            return _lines(found())
    wanted = args.text("hash")
    if wanted is not None:
        named = None if wanted == "*" else wanted.split(",")
        return _lines(f"{name} {value}" for name, value in seen.hashes(named).items())
    if args.has("profiles"):
        return _lines(seen.profiles())
    if args.has("images"):
        return _lines(seen.images())
    if args.has("variables"):
        return _variables(seen, args.text("format") or "table")
    if args.has("environment"):
        return _lines(f"{name}={value}" for name, value in seen.environment().items())
    format = args.text("format") or "yaml"
    return seen.lock(format) if args.has("lock-image-digests") else seen.text(format)


def _variables(seen: Configuration, format: str) -> str:
    if format != "table":
        return seen.variables_text(format)
    from orchestrator.cli.table import table

    head = ("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")
    rows = [
        (v.name, "true" if v.required else "false", v.default, v.alternate)
        for v in seen.variables().values()
    ]
    return _lines(table(head, rows, least=20))


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)
