"""`pcompose run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.commands.exec import streams, wants_terminal
from orchestrator.cli.grammar import Arguments, Command, alias, many, option, switch
from orchestrator.cli.policies import build_sink, pull_policy, shown, variables
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="run", usage="run [OPTIONS] SERVICE [COMMAND] [ARGS...]",
    summary="Run a one-off command in a new container of a service", interspersed=False, least=1,
    examples=(
        ("a command in a new container", "run --rm web sh"),
        ("with another variable, ports published", "run --rm -P -e LEVEL=debug web"),
    ),
    flags=(
        switch("build", "", "Build images first, those that are there already too"),
        many("cap-add", "", "Add a capability", metavar="name"),
        many("cap-drop", "", "Drop a capability", metavar="name"),
        switch("detach", "d", "In the background; print the id"),
        option("entrypoint", "", "Instead of the image's entrypoint", metavar="command"),
        many("env", "e", "Variable", metavar="NAME=VALUE"),
        many("env-from-file", "", "File with variables; -e wins over it", metavar="file"),
        switch("interactive", "i", "=false: no standard input"),
        many("label", "l", "Label", metavar="NAME=VALUE"),
        option("name", "", "Name of the container", metavar="name"),
        switch("no-deps", "", "Leave dependencies alone"),
        switch("no-tty", "T", "No terminal, even if there is one"),
        many("publish", "p", "Publish a port", metavar="port"),
        option("pull", "", "Pull images first: always, missing or never", metavar="policy"),
        switch("quiet", "q", "No progress"),
        switch("quiet-build", "", "No output of builds"),
        switch("quiet-pull", "", "No progress of downloads"),
        switch("remove-orphans", "", "Remove containers of services that are not in the files"),
        switch("rm", "", "Remove the container when it has ended"),
        switch("service-ports", "P", "Publish the ports of the service"),
        switch("tty", "t", hidden=True),
        switch("use-aliases", "", "Answer to the names of the service"),
        option("user", "u", "User, or user:group", metavar="user"),
        many("volume", "v", "Mount", metavar="source:target"),
        option("workdir", "w", "Working directory", metavar="dir"),
        alias("no-TTY", "no-tty"), alias("volumes", "volume", kind="list"),
        alias("labels", "label", kind="list"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """The exit code of the command."""
    from orchestrator import api

    args = call.args
    if args.has("service-ports") and args.all("publish"):
        raise UsageError("--service-ports and --publish are incompatible")
    service, *command = args.operands
    options = call.project.run_options(
        command=tuple(command), volumes=args.all("volume"), publish=args.all("publish"),
        entrypoint=args.text("entrypoint"), environment=variables(args.all("env")),
        env_files=args.all("env-from-file"),
        labels=_labels(args), user=args.text("user"), working_dir=args.text("workdir"),
        service_ports=args.has("service-ports"), name=args.text("name"),
        cap_add=tuple(args.all("cap-add")), cap_drop=tuple(args.all("cap-drop")),
        tty=wants_terminal(args) and not args.has("detach"), detach=args.has("detach"),
        interactive=not args.said("interactive") or args.has("interactive"),
        remove=args.has("rm"), with_dependencies=not args.has("no-deps"),
        use_aliases=args.has("use-aliases"), remove_orphans=args.has("remove-orphans"),
        build=args.has("build"), pull=pull_policy(args),
    )  # fmt: skip
    if shown(call, lambda: call.project.preview_run(service, options)):
        return 0
    with call.out.renderer("run", quiet=args.has("quiet")) as renderer:
        session = call.project.run(service, options, streams=streams(args),
                                   sink=build_sink(args, renderer))
    if args.has("detach"):
        session.close()
        call.out.line(session.id)
        return 0
    return api.interact(session)


def _labels(args: Arguments) -> dict[str, str]:
    found = {}
    for text in args.all("label"):
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError("label must be set as KEY=VALUE")
        found[name] = value
    return found
