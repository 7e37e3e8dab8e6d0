"""What works and is better written otherwise: the build checks of BuildKit, by their names.

`# check=skip=RULE,…;error=true` at the top of a Dockerfile leaves rules out (`skip=all`: all of
them) and makes findings errors; the build argument BUILDKIT_DOCKERFILE_CHECK says the same and goes
before it.  Pure but for one question, which the caller answers: the configuration of a base image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from orchestrator.build import instructions as kinds
from orchestrator.build import stagechecks, stages, words
from orchestrator.build.fault import Place, fault
from orchestrator.build.instructions import Dockerfile
from orchestrator.build.stagechecks import Finding, Seen
from orchestrator.dataclass import dataclass
from orchestrator.errors import BuildError
from orchestrator.image.config import ImageConfig

VARIABLE = "BUILDKIT_DOCKERFILE_CHECK"
_RESERVED = ("context", "scratch")
_NAME = re.compile(r"[\w.:/@-]*[\w]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `# check=` says."""

    skipped: frozenset[str] = frozenset()
    skips_all: bool = False
    is_error: bool = False
    """Findings end the build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a check knows beside the file."""

    args: Mapping[str, str]
    """Build arguments that were given."""
    automatic: Mapping[str, str]
    """TARGETARCH and so on."""
    image: Callable[[str], ImageConfig | None]
    """The configuration of a base image; None where it is not known."""


def options(file: Dockerfile, args: Mapping[str, str]) -> Options:
    """What is to be checked.  BuildError where the directive makes no sense."""
    text = args.get(VARIABLE) or file.directives.get("check", "")
    skipped: frozenset[str] = frozenset()
    is_error = False
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, value = (word.strip() for word in part.partition("="))
        if name == "skip":
            skipped = frozenset(word.strip() for word in value.split(","))
        elif name == "error" and value.lower() in ("true", "false", "1", "0"):
            is_error = value.lower() in ("true", "1")
        elif name != "experimental":
            raise fault(Place(file=file.file, line=1, column=1), f"check: `{part}` is no option",
                        hint="skip=RULE,… or skip=all; error=true")
    return Options(skipped=skipped, skips_all="all" in skipped, is_error=is_error)


def check(file: Dockerfile, around: Around) -> list[Finding]:
    """What there is to be said of the file, in its order."""
    chosen = options(file, around.args)
    if chosen.skips_all:
        return []
    found = [*_continuations(file), *_casing(file), *_names(file), *_bases(file, around),
             *_inside(file, around)]  # fmt: skip
    kept = [one for one in found if one.rule not in chosen.skipped]
    return sorted(kept, key=lambda one: (one.place.line, one.place.column))


def _continuations(file: Dockerfile) -> Iterator[Finding]:
    for place in file.empty_continuations:
        yield Finding(place, "NoEmptyContinuation", "an empty line within an instruction")


# ---- how it is written ----


def _casing(file: Dockerfile) -> Iterator[Finding]:
    """All keywords in capitals, or none; `as` like its `from`."""
    keywords = [(made, made.text.split(None, 1)[0]) for made in file.instructions]
    is_lower = sum(word.islower() for _, word in keywords) > sum(
        word.isupper() for _, word in keywords)  # fmt: skip
    for made, word in keywords:
        wanted = word.lower() if is_lower else word.upper()
        if word != wanted:
            yield Finding(made.place, "ConsistentInstructionCasing",
                          f"`{word}` among others like `{wanted}`")
    for made, keyword in keywords:
        found = words.split(made.text, escape=file.escape)
        if not isinstance(made, kinds.From) or not made.name:
            continue
        name, between = found[-1].text, found[-2].text
        wanted = between.upper() if keyword.isupper() else between.lower()
        if between != wanted and (keyword.isupper() or keyword.islower()):
            yield Finding(made.place, "FromAsCasing", f"`{between}` after `{keyword}`")
        if name != name.lower():
            yield Finding(made.place, "StageNameCasing", f"the stage `{name}` is called "
                          f"`{name.lower()}`: names have no capitals")


def _names(file: Dockerfile) -> Iterator[Finding]:
    for made in file.instructions:
        if isinstance(made, kinds.From) and made.name in _RESERVED:
            yield Finding(made.place, "ReservedStageName",
                          f"`{made.name}` means something else to COPY --from and FROM")
        if isinstance(made, kinds.Maintainer):
            yield Finding(made.place, "MaintainerDeprecated",
                          "LABEL org.opencontainers.image.authors has taken its place")


# ---- FROM ----


def _bases(file: Dockerfile, around: Around) -> Iterator[Finding]:
    try:
        before, groups = stages.grouped(file)
        known = stages.global_arguments(before, around.args, around.automatic, file.escape)
        plain = stages.global_arguments(before, {}, around.automatic, file.escape)
    except BuildError:
        return  # whoever builds it is told
    declared = {name for made in before for name, _ in made.items} | set(known)
    for start, _ in groups:
        for name in _unset((start.image, start.platform), declared, file.escape):
            yield Finding(start.place, "UndefinedArgInFrom", f"no ARG before the first FROM "
                          f"declares {name}{stagechecks.meant(name, declared)}")
        yield from _default(start, plain, file.escape)
        yield from _platform(start)


def _unset(texts: Iterable[str], known: Iterable[str], escape: str) -> list[str]:
    return [name for text in texts for name in words.unset(text, set(known), escape=escape)]


def _default(start: kinds.From, plain: Mapping[str, str], escape: str) -> Iterator[Finding]:
    try:
        base = words.expand(start.image, plain, escape=escape)
    except ValueError:
        return
    if "$" in start.image and not _NAME.fullmatch(base):
        yield Finding(start.place, "InvalidDefaultArgInFrom",
                      f"without build arguments `{start.image}` is `{base}`, which is no image")


def _platform(start: kinds.From) -> Iterator[Finding]:
    said = start.platform
    if said in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
        yield Finding(start.place, "RedundantTargetPlatform",
                      f"--platform={said} is what a stage is for anyway")
    elif said and "$" not in said and not any(part in start.name for part in said.split("/")):
        yield Finding(start.place, "FromPlatformFlagConstDisallowed",
                      f"--platform={said} is the same whatever the build is for")


# ---- stages ----


def _inside(file: Dockerfile, around: Around) -> Iterator[Finding]:
    try:
        before, groups = stages.grouped(file)
        known = stages.global_arguments(before, around.args, around.automatic, file.escape)
    except BuildError:
        return
    named: dict[str, Seen] = {}
    for start, instructions in groups:
        seen = _beginning(start, named, known, around, file.escape)
        yield from stagechecks.check(instructions, seen, escape=file.escape)
        if start.name:
            named[start.name] = seen


def _beginning(
    start: kinds.From, named: Mapping[str, Seen], known: Mapping[str, str], around: Around,
    escape: str,
) -> Seen:
    """What a stage has before its first instruction."""
    try:
        base = words.expand(start.image, known, escape=escape)
    except ValueError:
        base = ""
    if base.lower() in named:
        return named[base.lower()].child()
    if base == stages.SCRATCH:
        return Seen(variables={"PATH"})
    config = around.image(base) if base else None
    if config is None:
        return Seen(variables=None, has_shell=False)
    return Seen(variables={"PATH", *(name for name, _ in config.env)},
                has_shell=bool(config.shell))  # fmt: skip
