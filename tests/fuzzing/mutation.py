"""Compose projects as mappings from file name to text, and how chance spoils them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from tests.source_tree import ROOT
from tests.spec.recorded import CORPUS, OWN

Files = dict[str, str]

_READ = re.compile(r".*\.(ya?ml|env)|\.env|.*\.env\..*")
LARGEST = 64 << 10
"""Bytes of a file that is worth spoiling."""

BUILT_IN: tuple[Files, ...] = (
    {
        "compose.yaml": """name: ${NAME:-shop}
include: [{path: more.yaml, env_file: e.env}]
x-common: &common {restart: on-failure:3, labels: [a=1, b], init: true}
services:
  web:
    <<: *common
    image: "img:${TAG-1}"
    build: {context: ., args: [A=1], secrets: [s], additional_contexts: {b: "service:db"}}
    command: ["serve", '--name', "${NAME:-x}"]
    ports: ["8080-8090:80", 127.0.0.1:53:53/udp, {target: 90, published: "90-91"}]
    volumes: [./a:/a:ro, "data:/d", {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0755}}]
    env_file: [e.env, {path: none.env, required: false, format: raw}]
    environment: {A: 1, B: , C: "$$x", D: "${A:-${B:-c}}"}
    depends_on: {db: {condition: service_healthy, required: false}}
    healthcheck: {test: curl x, interval: 1m30s, retries: 3, start_period: 0.5s}
    networks: {n: {aliases: [x], ipv4_address: 10.0.0.2, priority: 3}}
    deploy: {replicas: 1, resources: {limits: {cpus: "0.5", memory: 1.5g, pids: 3}}}
    ulimits: {nofile: {soft: 1, hard: 2}, nproc: -1}
    extra_hosts: ["a=1.1.1.1", 'b:[::1]']
  db:
    extends: {file: base.yaml, service: base}
    profiles: [p, ""]
    logging: {driver: local, options: {max-size: 1m}}
    secrets: [s, {source: s, target: /x, mode: 0400}]
networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}, driver_opts: {a: 1}}}
volumes: {data: {driver: local, driver_opts: {type: none, o: bind, device: ./x}}}
secrets: {s: {file: ./s}}
configs: {c: {content: "a $$b"}}
""",
        "compose.override.yaml": """services:
  web:
    command: !reset null
    ports: !override ["1:1"]
    environment: [A=2, "E"]
    labels: {b: 3}
  db: !reset
---
services: {extra: {image: x, volumes_from: [web:ro], links: ["db:d"]}}
""",
        "more.yaml":
            "services: {inner: {image: '${ONLY:?must be set}', network_mode: 'service:db'}}\n",
        "base.yaml":
            "services: {base: {image: b, env_file: e.env, extends: other}, other: {tty: true}}\n",
        ".env": "TAG=2\nNAME=\"a ${TAG}\"\nexport X='y z' # c\nM=\"one\ntwo\"\n",
        "e.env": "ONLY=1\nA=$TAG\nB\nC: 'x'\n",
    },
)  # fmt: skip

TOKENS = (
    "&a", "*a", "[*a, *a, *a, *a, *a, *a, *a, *a, *a]", "<<: *a", "<<: [*a, *a]", "!reset",
    "!override", "!!int", "!!binary x", "!!set {a}", "!!str", "? [a]", "|", ">-", "---", "...",
    "{", "}", "[", "]", ":", ": ", "- ", "#", "'", '"', "\t", "\r", "\x00", "\ufeff", "\u2028", "é",
    "\U0001f600", "${", "${A", "${A:-", "${A:?", "$", "$$", "${A:-${A:-${A:-}}}",
    "null", "~", "true", "yes", "1", "-1", "0x10", "0o7", "08", "1_000", "1e400", ".inf", ".nan",
    "9" * 30, "-" + "9" * 400, "1" * 5000, "2020-01-01", "1-65535:1-65535", "1-65535", "0-0",
    "65536", "1.1.1.1:1-2:3-4/udp", "[::1]:1:1", "1:2:3:4:5", "999999999999g", "1.5g", "1h2m3s",
    "99999999999h", "-5s", "0.0000001ns", "on-failure:9999999999", "service:web", "service:",
    "container:x", "../" * 50, "/", "~/x", "~root", "a" * 300, "C:\\x:/y", "::", "a=b=c", "=", "=x",
    "a b", "x-y", "version: '3'", "include: [compose.yaml]", "extends: web", "scale: 100000000",
    "extends: {file: compose.yaml, service: web}", "depends_on: [web]", "image: ''",
    "env_file: /dev/zero", "env_file: .", "include: [/dev/null]", "include: [.]", "10.0.0.0/8",
    "::/0", "1.2.3.4/99", "CMD", "NONE", "((((((((((a+)+)+)+)+)+)+)+)+)+$",
)  # fmt: skip


def corpus() -> list[Files]:
    """Projects to begin with: our own, the examples, and the recorded ones where they are."""
    directories = [*(ROOT / "examples").iterdir()]
    if CORPUS.exists():
        directories += sorted(CORPUS.iterdir())
    found = list(BUILT_IN)
    for directory in directories:
        files = _read(directory) if directory.is_dir() else {}
        if any(name.endswith((".yaml", ".yml")) for name in files):
            found.append(files)
    return found


def _read(directory: Path) -> Files:
    files = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if not path.is_file() or not _READ.fullmatch(path.name) or OWN.fullmatch(name):
            continue
        if path.stat().st_size <= LARGEST:
            files[name] = path.read_bytes().decode("utf-8", "replace")
    return files


def spoiled(chance: random.Random, projects: list[Files]) -> Files:
    """One project with a few changes in some of its files."""
    files = dict(chance.choice(projects))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        name = chance.choice(sorted(files))
        change = chance.choice(_CHANGES)
        other = chance.choice(list(chance.choice(projects).values()))
        files[name] = change(chance, files[name], other)[: 4 * LARGEST]
    return files


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True) or [""]


def _token(chance: random.Random, text: str, other: str) -> str:
    at = chance.randrange(len(text) + 1)
    end = at + chance.choice((0, 0, 1, 3, 10))
    return text[:at] + chance.choice(TOKENS) + text[end:]


def _value(chance: random.Random, text: str, other: str) -> str:
    """The value behind some `key:` or `-` becomes another."""
    found = list(re.finditer(r"(?<=[:\-,\[] )[^\n,{}\[\]]+", text))
    if not found:
        return _token(chance, text, other)
    match = chance.choice(found)
    values = re.findall(r"(?<=[:\-] )[^\n]+", other) or [""]
    value = chance.choice((chance.choice(TOKENS), chance.choice(values), ""))
    return f"{text[: match.start()]}{value}{text[match.end() :]}"


def _key(chance: random.Random, text: str, other: str) -> str:
    """Some key becomes another one of the two files."""
    found = list(re.finditer(r"[\w.-]+(?=:)", text))
    keys = re.findall(r"[\w.-]+(?=:)", other + text)
    if not found:
        return _token(chance, text, other)
    match = chance.choice(found)
    return f"{text[: match.start()]}{chance.choice(keys)}{text[match.end() :]}"


def _line(chance: random.Random, text: str, other: str) -> str:
    lines = _lines(text)
    at = chance.randrange(len(lines))
    how = chance.randrange(5)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, lines[chance.randrange(len(lines))])
    elif how == 2:
        lines.insert(at, chance.choice(_lines(other)))
    elif how == 3:
        lines[at] = " " * chance.randrange(9) + lines[at].lstrip()
    else:
        lines[at] = lines[at].rstrip("\n") + " " + chance.choice(TOKENS) + "\n"
    return "".join(lines)


def _splice(chance: random.Random, text: str, other: str) -> str:
    ours, theirs = _lines(text), _lines(other)
    cut, start = chance.randrange(len(ours) + 1), chance.randrange(len(theirs) + 1)
    return "".join(ours[:cut] + theirs[start:])


def _repeat(chance: random.Random, text: str, other: str) -> str:
    """A piece many times: deep nesting, long lists, many documents."""
    at = chance.randrange(len(text) + 1)
    piece = text[at : at + chance.choice((1, 2, 5, 40, 400))]
    piece = chance.choice((piece, "[", "{a: ", "- ", "${A:-", "&a [", "x: &x [*x, ", "---\n"))
    return text[:at] + piece * chance.choice((2, 20, 300, 3000)) + text[at:]


def _bomb(chance: random.Random, text: str, other: str) -> str:
    """Anchors that hold each other many times over."""
    kind = chance.choice(("[{0}]", "{{{0}}}"))
    lines = ["x-0: &b0 [lol, lol, lol]\n"]
    for n in range(1, chance.choice((3, 6, 9, 30))):
        refs = [f"*b{n - 1}" if "[" in kind else f"k{i}: *b{n - 1}" for i in range(9)]
        lines.append(f"x-{n}: &b{n} {kind.format(', '.join(refs))}\n")
    return "".join(lines) + text


_CHANGES: tuple[Callable[[random.Random, str, str], str], ...] = (
    _token, _token, _value, _value, _value, _key, _key, _line, _line, _splice, _repeat, _bomb,
)  # fmt: skip
