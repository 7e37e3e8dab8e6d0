"""`pcompose build`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Arguments, Command, many, option, switch
from orchestrator.cli.policies import build_arguments, told, without_build_output
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="build", usage="build [OPTIONS] [SERVICE...]",
    summary="Build the images of services that have a `build`",
    examples=(
        ("one image, and why each step was not in the cache", "build --explain web"),
    ),
    flags=(
        many("build-arg", "", "Build argument; NAME alone takes the value of the environment",
             metavar="NAME=VALUE"),
        option("builder", "", hidden=True),
        switch("check", "", "Tell what the Dockerfiles have that is wrong or risky; build nothing"),
        switch("compress", "", hidden=True),
        switch("explain", "", "Say for each step why it was not in the cache"),
        switch("force-rm", "", hidden=True),
        option("memory", "m", hidden=True),
        switch("no-cache", "", "Make every step again"),
        switch("no-rm", "", hidden=True),
        switch("parallel", "", hidden=True),
        switch("print", "", "Print what would be built, as JSON for docker buildx bake"),
        option("progress", "", "As before the command; rawjson is json", metavar="mode"),
        option("provenance", "", "Attestations are not made: false", metavar="false"),
        switch("pull", "", "Ask the registries for newer base images"),
        switch("push", "", "Push what was built"),
        switch("quiet", "q", "No progress; print the ids of the images"),
        option("sbom", "", "Attestations are not made: false", metavar="false"),
        option("ssh", "", "Agent for RUN --mount=type=ssh: default, or id=socket",
               metavar="default|id=socket"),
        switch("with-dependencies", "", "Also build what the services depend on"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Build; with --quiet print the ids."""
    args = call.args
    _heed(call)
    for name in ("provenance", "sbom"):
        if (args.text(name) or "false").lower() not in ("false", "0"):
            raise UsageError(f"--{name}: attestations are not made", hint=f"--{name}=false")
    if not args.has("print") and told(call, f"build {' '.join(args.operands) or 'all images'}"):
        return 0
    if args.has("print"):
        call.out.line(json.dumps(call.project.bake(args.operands), indent=2))
        return 0
    is_quiet = args.has("quiet")
    with call.out.renderer("build") as renderer:
        built = call.project.build(
            args.operands, args=build_arguments(args.all("build-arg")),
            no_cache=args.has("no-cache"), pull=args.has("pull"), push=args.has("push"),
            ssh=_agents(args), explain=args.has("explain"),
            check_only=args.has("check"), with_dependencies=args.has("with-dependencies"),
            sink=without_build_output(renderer, everything=True) if is_quiet else renderer,
        )  # fmt: skip
    if is_quiet:
        for image in built.values():
            call.out.line(image)
    return 0


def _heed(call: Invocation) -> None:
    """Flags that are about how docker compose builds."""
    args = call.args
    mode = args.text("progress")
    if mode:
        call.show_progress("json" if mode == "rawjson" else mode)
    if args.text("builder"):
        call.out.warn("--builder is ignored: there is one builder, which needs no name")
    if args.text("memory"):
        call.out.warn("--memory is ignored: builds have no limit of their own")


def _agents(args: Arguments) -> dict[str, str | None]:
    text = args.text("ssh")
    if text is None:
        return {}
    found: dict[str, str | None] = {}
    for part in text.split(","):
        name, equals, path = part.partition("=")
        if not name:
            raise UsageError(f"bad --ssh {text!r}", hint="default, or id=socket")
        found[name] = path if equals else None
    return found
