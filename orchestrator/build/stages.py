"""Instructions -> stages: what each begins with, what it needs, which of them the target needs.

Pure but for one question: what instructions an image leaves for those who build on it (ONBUILD),
which the caller answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set

from orchestrator.build import instructions as kinds
from orchestrator.build import lines, words
from orchestrator.build.fault import Place, fault, near
from orchestrator.build.instructions import Dockerfile, Instruction
from orchestrator.build.parse import instruction
from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import BuildError

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """From one FROM to the next."""

    index: int
    name: str
    """Empty where it has none."""
    base: str
    """An image, a named context or `scratch`; empty where it is a stage."""
    parent: int | None
    """The stage it begins with."""
    platform: str
    place: Place
    instructions: tuple[Instruction, ...]
    needs: frozenset[int]
    """Stages that must be done before."""

    @property
    def title(self) -> str:
        """What progress calls it."""
        return self.name or f"stage-{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The stages that are built, in the order of the file."""

    needed: tuple[Stage, ...]
    target: int
    globals: Mapping[str, str]
    """ARG before the first FROM, with what was given for them."""
    escape: str


Triggers = Callable[[str, str, Place], tuple[str, ...]]
"""The ONBUILD instructions of an image, for a platform."""


def plan(
    file: Dockerfile, *, args: Mapping[str, str], platform: Mapping[str, str], target: str,
    triggers: Triggers, contexts: Set[str] = frozenset(),
) -> Stages:  # fmt: skip
    """The stages that `target` (a name, a number, or empty for the last one) needs.

    `args` are build arguments that were given; `platform` the automatic ones, TARGETARCH and so on.
    A named context takes the place of the stage that is called like it.
    """
    before, groups = grouped(file)
    known = global_arguments(before, args, platform, file.escape)
    found: list[Stage] = []
    for number, (start, inside) in enumerate(groups):
        if start.name in contexts:
            start = replace(start, name="")
        found.append(_stage(number, start, inside, found, known, file.escape))
    chosen = _target(found, target, file)
    return _needed(found, chosen, triggers, known, file.escape)


def grouped(
    file: Dockerfile,
) -> tuple[list[kinds.Arg], list[tuple[kinds.From, list[Instruction]]]]:
    """(ARG before the first FROM, each FROM with what is in its stage)."""
    before: list[kinds.Arg] = []
    groups: list[tuple[kinds.From, list[Instruction]]] = []
    for made in file.instructions:
        if isinstance(made, kinds.From):
            groups.append((made, []))
        elif groups:
            groups[-1][1].append(made)
        elif isinstance(made, kinds.Arg):
            before.append(made)
        else:
            raise fault(made.place, f"{made.keyword} before the first FROM",
                        hint="only ARG may stand there")
    if not groups:
        raise BuildError("there is no FROM: nothing to build", where=f"{file.file}:1:1")
    return before, groups


def global_arguments(
    before: Iterable[kinds.Arg], args: Mapping[str, str], platform: Mapping[str, str], escape: str
) -> dict[str, str]:
    """What FROM may use: the automatic arguments and those before it, with what was given."""
    known = {name: args.get(name, value) for name, value in platform.items()}
    for made in before:
        for name, default in made.items:
            if name in args:
                known[name] = args[name]
            elif default is not None:
                known[name] = expanded(default, known, made.place, escape)
    return known


def expanded(text: str, known: Mapping[str, str], place: Place, escape: str) -> str:
    """The text with variables in; BuildError at the place."""
    try:
        return words.expand(text, known, escape=escape)
    except ValueError as exc:
        raise fault(place, str(exc)) from exc


def _stage(
    number: int, start: kinds.From, inside: list[Instruction], earlier: list[Stage],
    known: Mapping[str, str], escape: str,
) -> Stage:
    base = expanded(start.image, known, start.place, escape)
    if not base:
        raise fault(start.place, f"FROM: `{start.image}` is empty",
                    hint="give the ARG a default, or a value with --build-arg")
    if start.name and any(stage.name == start.name for stage in earlier):
        raise fault(start.place, f"FROM: there is a stage `{start.name}` already")
    parent = next((s.index for s in earlier if s.name == base.lower()), None)
    stage = Stage(
        index=number, name=start.name, base=base if parent is None else "", parent=parent,
        platform=expanded(start.platform, known, start.place, escape), place=start.place,
        instructions=tuple(inside), needs=frozenset(),
    )  # fmt: skip
    return replace(stage, needs=_needs(stage, earlier))


def _needs(stage: Stage, earlier: list[Stage]) -> frozenset[int]:
    found = set() if stage.parent is None else {stage.parent}
    for place, origin in origins(stage.instructions):
        number = index_of(origin, earlier)
        if origin.isdigit() and number is None:
            raise fault(place, f"there is no stage {origin} before this one")
        if number is not None:
            found.add(number)
    return frozenset(found)


def origins(inside: Iterable[Instruction]) -> Iterator[tuple[Place, str]]:
    """Where instructions take files from, as it is written."""
    for made in inside:
        if isinstance(made, kinds.Copy) and made.origin:
            yield made.place, made.origin
        if isinstance(made, kinds.Run):
            for mount in made.mounts:
                origin = dict(mount.items).get("from", "")
                if origin:
                    yield mount.place, origin


def index_of(origin: str, stages: Iterable[Stage]) -> int | None:
    """The stage that `origin` names or counts."""
    for stage in stages:
        if stage.name == origin.lower() or str(stage.index) == origin:
            return stage.index
    return None


def _target(found: list[Stage], target: str, file: Dockerfile) -> int:
    if not target:
        return found[-1].index
    number = index_of(target, found)
    if number is None:
        named = [stage.name for stage in found if stage.name]
        there = "it has " + ", ".join(named) if named else "none of its stages has a name"
        raise BuildError(f"{file.file} has no stage `{target}`",
                         hint=near(target.lower(), named) or there)
    return number


def _needed(
    found: list[Stage], target: int, triggers: Triggers, known: Mapping[str, str], escape: str
) -> Stages:
    """Close over what is needed; a base image's triggers may need more."""
    chosen: dict[int, Stage] = {}
    pending = [target]
    while pending:
        number = pending.pop()
        if number in chosen:
            continue
        stage = _triggered(found[number], found, triggers, escape)
        chosen[number] = stage
        pending += stage.needs
    return Stages(needed=tuple(chosen[n] for n in sorted(chosen)), target=target, globals=known,
                  escape=escape)


def _triggered(stage: Stage, found: list[Stage], triggers: Triggers, escape: str) -> Stage:
    if stage.parent is not None:
        texts = tuple(m.trigger for m in found[stage.parent].instructions
                      if isinstance(m, kinds.Onbuild))
    elif stage.base == SCRATCH:
        texts = ()
    else:
        texts = triggers(stage.base, stage.platform, stage.place)
    if not texts:
        return stage
    inside = (*(_trigger(text, stage, escape) for text in texts), *stage.instructions)
    made = replace(stage, instructions=inside)
    return replace(made, needs=_needs(made, found[: stage.index]))


def _trigger(text: str, stage: Stage, escape: str) -> Instruction:
    """One instruction of the base image; it stands where its image is named."""
    read = lines.read(text, file=stage.place.file).lines
    if len(read) != 1:
        raise fault(stage.place, f"the base image has a broken ONBUILD instruction: {text!r}")
    line = replace(read[0], starts=((0, stage.place.line, stage.place.column),))
    try:
        return instruction(line, escape=escape)
    except BuildError as error:
        raise fault(stage.place, f"the base image has a broken ONBUILD instruction: {text!r}: "
                    f"{error.problems[0][1]}") from error
