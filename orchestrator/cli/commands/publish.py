"""`pcompose publish`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, alias, option, switch
from orchestrator.cli.policies import told
from orchestrator.cli.questions import confirmed

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="publish", usage="publish [OPTIONS] REPOSITORY[:TAG]", least=1, most=1,
    summary="Put the Compose files into a registry, for -f oci://REPOSITORY",
    examples=(
        ("with the images as they are now", "publish --resolve-image-digests registry.lan/app:1"),
        ("and elsewhere", "-f oci://registry.lan/app:1 up"),
    ),
    flags=(
        switch("app", "", "Also the images, copied to the same repository"),
        switch("insecure-registry", "", "The registry needs no certificate, nor TLS"),
        option("oci-version", "", "1.0 or 1.1 of the image specification", metavar="version"),
        switch("resolve-image-digests", "", "Also a file that pins the images"),
        switch("with-env", "", "Also env files and variables"),
        switch("yes", "y", "Answer yes to questions"),
        alias("y", "yes"),
    ),
    notes="Published are the files as they are written, what they extend, and with --with-env env\n"
          "files; neither contexts of builds nor what is mounted.",
)  # fmt: skip


def run(call: Invocation) -> int:
    """Publish; what would tell others about this machine is asked about before."""
    name, args = call.args.operands[0], call.args
    if told(call, f"publish {name}"):
        return 0
    renderer = call.out.renderer("publish")
    try:
        digest = call.project.publish(
            name, with_env=args.has("with-env"), with_images=args.has("app"),
            pinned=args.has("resolve-image-digests"), oci_version=args.text("oci-version") or "",
            is_insecure=args.has("insecure-registry"), sink=renderer,
            agree=lambda question: args.has("yes") or confirmed(call.out, question),
        )  # fmt: skip
    finally:
        renderer.close()
    return 0 if digest else 1
