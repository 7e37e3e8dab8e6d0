"""What is to be loaded: files, working directory, environment, profiles, name.

Follows the precedence of the Compose specification: flags, then the process environment, then the
env files.  Reads directories and env files; parses no YAML.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal

from orchestrator import names
from orchestrator.dataclass import dataclass, field
from orchestrator.errors import SpecError
from orchestrator.spec import dotenv, reading

if TYPE_CHECKING:
    from orchestrator.spec.provenance import Trace

MAIN_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_FILES = (
    "compose.override.yml", "compose.override.yaml",
    "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip
STDIN = "-"
OCI = "oci://"
"""An application in a registry, where a file could be named."""
LARGEST = 4 << 20
"""Bytes of one env file."""

Phase = Literal["interpolation", "paths", "environment", "normalization", "consistency"]
"""A phase of the load that `config --no-…` leaves out; `environment` is env_file and label_file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What the command line says about the project; nothing said: found by the rules."""

    files: tuple[str, ...] = ()
    """-f; `-` is standard input.  Relative to `cwd`."""
    project_directory: str | None = None
    project_name: str | None = None
    env_files: tuple[str, ...] = ()
    """--env-file."""
    profiles: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    """The process environment; COMPOSE_* are read from it."""
    cwd: str = ""
    """Empty: the working directory of the process."""
    stdin: BinaryIO | None = None
    cache_dir: str | None = None
    """Remembers which trees are valid; None: validate always."""
    skip: frozenset[Phase] = frozenset()
    """Phases left out.  Without `interpolation` the project has a tree and no services."""
    trace: Trace | None = None
    """Gathers where everything comes from, for `config --explain`; such a load is slower."""
    fetch: Callable[[str], Sequence[str]] | None = None
    """`oci://…` -> the Compose files of an application, which it brings here.  PcomposeError."""


@dataclass(slots=True, kw_only=True)
class Inputs:
    """What `gather` found."""

    files: tuple[str, ...]
    working_dir: str
    cwd: str
    """Absolute."""
    environment: dict[str, str]
    """The variables templates see; the process environment wins over env files."""
    env_files: tuple[str, ...]
    profiles: tuple[str, ...]
    warnings: list[str]


def gather(options: LoadOptions) -> Inputs:
    """Files, environment and directory of the project.  Raises SpecError."""
    cwd = os.path.abspath(options.cwd or os.getcwd())
    warnings: list[str] = []
    environ = dict(options.environ)
    environ.setdefault("PWD", cwd)
    guess = _directory(options, list(options.files), cwd)
    environment, env_files = _environment(options, environ, guess or cwd, cwd)
    files = _files(options, environment, cwd, warnings)
    working_dir = _directory(options, files, cwd) or cwd
    if working_dir != (guess or cwd) and not env_files:  # what is given may be a pipe: read it once
        environment, _ = _environment(options, environ, working_dir, cwd)
    return Inputs(
        files=tuple(files), working_dir=working_dir, cwd=cwd, environment=environment,
        env_files=tuple(env_files), profiles=_profiles(options, environment), warnings=warnings,
    )  # fmt: skip


def _directory(options: LoadOptions, files: list[str], cwd: str) -> str | None:
    if options.project_directory:
        return os.path.abspath(os.path.join(cwd, options.project_directory))
    for file in files:
        if file.startswith(OCI):
            return None  # it has a directory once it is here
        if file != STDIN:
            return os.path.dirname(os.path.abspath(os.path.join(cwd, file)))
    return None


def _files(
    options: LoadOptions, environment: Mapping[str, str], cwd: str, warnings: list[str]
) -> list[str]:
    listed = list(options.files)
    if not listed and environment.get("COMPOSE_FILE"):
        separator = environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        listed = [part for part in environment["COMPOSE_FILE"].split(separator) if part]
    if not listed:
        return discover(cwd, warnings)
    files = [path for file in listed for path in _paths(file, options, cwd)]
    if files.count(STDIN) > 1:
        raise SpecError("standard input can be given only once")
    for file in files:
        if file != STDIN and not os.path.exists(file):
            is_split = not options.files and OCI in environment["COMPOSE_FILE"]
            raise SpecError(f"no such file: {file}", hint="COMPOSE_PATH_SEPARATOR has to be another"
                            " than `:`" if is_split else "check -f or COMPOSE_FILE")
    return files


def _paths(file: str, options: LoadOptions, cwd: str) -> Sequence[str]:
    if file.startswith(OCI):
        return fetched(file, options)
    return (file,) if file == STDIN else (os.path.abspath(os.path.join(cwd, file)),)


def fetched(url: str, options: LoadOptions) -> Sequence[str]:
    """The Compose files of an application in a registry.  PcomposeError."""
    if options.fetch is None:
        raise SpecError(f"{url} is not on this machine")
    return options.fetch(url)


def discover(start: str, warnings: list[str]) -> list[str]:
    """The Compose file in `start` or the nearest directory above, and its override file."""
    directory = start
    while True:
        present = _present(directory, MAIN_FILES)
        if present:
            break
        parent = os.path.dirname(directory)
        if parent == directory:
            raise SpecError(
                f"no {MAIN_FILES[0]} in {start} or a directory above",
                hint="give the file with -f, or change to the project's directory",
            )
        directory = parent
    files = [_chosen(present, "config files", warnings)]
    overrides = _present(directory, OVERRIDE_FILES)
    if overrides:
        files.append(_chosen(overrides, "override files", warnings))
    return files


def _present(directory: str, wanted: tuple[str, ...]) -> list[str]:
    paths = [os.path.join(directory, name) for name in wanted]
    return [path for path in paths if os.path.isfile(path)]


def _chosen(present: list[str], kind: str, warnings: list[str]) -> str:
    if len(present) > 1:
        warnings.append(f"Found multiple {kind} with supported names: {', '.join(present)}")
        warnings.append(f"Using {present[0]}")
    return present[0]


def _environment(
    options: LoadOptions, environ: Mapping[str, str], working_dir: str, cwd: str
) -> tuple[dict[str, str], list[str]]:
    """(variables, env files read); the process environment wins."""
    wanted = list(options.env_files)
    if not wanted and environ.get("COMPOSE_ENV_FILES"):
        wanted = [part for part in environ["COMPOSE_ENV_FILES"].split(",") if part]
    paths = [os.path.abspath(os.path.join(cwd, path)) for path in wanted]
    if not paths and not _is_true(environ.get("COMPOSE_DISABLE_ENV_FILE", "")):
        default = os.path.join(working_dir, ".env")
        paths = [default] if os.path.exists(default) else []
    found = with_env_files(paths, environ, root=cwd, trace=options.trace)
    return found, paths if wanted else []


def with_env_files(
    paths: list[str], environ: Mapping[str, str], *, root: str, trace: Trace | None = None
) -> dict[str, str]:
    """The variables of `environ` over those of the files, of which a later one wins.  Raises
    SpecError, with files named relative to `root`."""
    found: dict[str, str] = {}
    for path in paths:
        entries = _read(path, environ, found, shown=path.removeprefix(f"{root}/"))
        if trace:
            trace.variables(path, entries)
        found.update({entry.name: str(entry.value) for entry in entries})
    return {**found, **environ}


def _is_true(text: str) -> bool:
    return text.lower() in ("1", "t", "true")


def _read(
    path: str, environ: Mapping[str, str], before: Mapping[str, str], *, shown: str
) -> list[dotenv.Entry]:
    """The entries of one file that have a value."""
    if path == os.devnull:
        return []
    text = read_text(path, missing="couldn't find env file")
    try:
        entries = dotenv.parse(text, lookup=environ.get, before=before)
    except dotenv.DotenvError as exc:
        raise SpecError(exc.message, where=f"{shown}:{exc.line}:1") from exc
    return [entry for entry in entries if entry.value is not None]


def read_text(path: str, *, missing: str) -> str:
    """A text file in UTF-8; SpecError with the words of `missing` when there is none."""
    try:
        data = reading.read(path, LARGEST)
        if len(data) > LARGEST:
            raise SpecError(f"{path} is larger than {LARGEST >> 20} MiB")
        return data.decode("utf-8-sig")
    except FileNotFoundError as exc:
        raise SpecError(f"{missing}: {path}") from exc
    except UnicodeDecodeError as exc:
        raise SpecError(f"{path} is not UTF-8 text") from exc
    except OSError as exc:
        raise SpecError(f"cannot read {path}: {exc.strerror}") from exc


def _profiles(options: LoadOptions, environment: Mapping[str, str]) -> tuple[str, ...]:
    if options.profiles:
        return options.profiles
    parts = environment.get("COMPOSE_PROFILES", "").split(",")
    return tuple(part.strip() for part in parts if part.strip())


def project_name(
    options: LoadOptions, environment: Mapping[str, str], *, written: str, working_dir: str
) -> str:
    """The name by precedence: -p, COMPOSE_PROJECT_NAME, `written` (top-level `name`), directory."""
    given = options.project_name or environment.get("COMPOSE_PROJECT_NAME")
    if given:
        if not names.is_project_name(given):
            raise SpecError(
                f'invalid project name "{given}": must consist only of lowercase alphanumeric '
                "characters, hyphens, and underscores as well as start with a letter or number",
            )
        return given
    name = names.normalise_project_name(written or os.path.basename(working_dir))
    if not name:
        raise SpecError("the project has no name", hint="give one with -p or a top-level `name:`")
    return name
