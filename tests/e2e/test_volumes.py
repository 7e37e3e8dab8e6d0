"""The volumes of a stack and of the machine: labels, options, anonymous ones, and the commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e


def inspect(stack: Stack, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(stack("volume", "inspect", name).stdout)
    return found[0]


def names(stack: Stack) -> list[str]:
    return str(stack("volume", "ls", "-q").stdout).split()


def test_options_labels_and_externals(stack: Stack) -> None:
    (stack.directory / "shared").mkdir()
    stack("volume", "create", "--label", "of=all", f"{stack.name}-outer")
    stack.write(f"""
services:
  a: &both
    image: pcompose/host
    command: sleep infinity
    volumes: ["bound:/bound", "memory:/memory", "outer:/outer"]
  b: *both
volumes:
  bound: {{driver_opts: {{type: none, o: bind, device: ./shared}}, labels: {{team: "7"}}}}
  memory: {{driver_opts: {{type: tmpfs, device: tmpfs, o: "size=1m,mode=0750"}}}}
  outer: {{external: true, name: {stack.name}-outer}}
""")
    stack("-p", stack.name, "up", "-d")
    stack.execute("a", "sh", "-c", "for d in bound memory outer; do echo $d > /$d/file; done")
    show = "cat /bound/file /memory/file /outer/file; stat -f -c %T /memory; stat -c %a /memory"
    assert stack.execute("b", "sh", "-c", show).split() == [
        "bound", "memory", "outer", "tmpfs", "750"]  # fmt: skip
    assert (stack.directory / "shared/file").read_text() == "bound\n"
    told = inspect(stack, f"{stack.name}_bound")
    assert told["Labels"]["team"] == "7"
    assert told["Options"]["o"] == "bind"
    assert told["Containers"] == [f"{stack.name}-a-1", f"{stack.name}-b-1"]
    rows = map(json.loads, stack("volumes", "--format", "json").stdout.splitlines())
    assert {row["Name"] for row in rows} == {f"{stack.name}_bound", f"{stack.name}_memory"}
    stack("-p", stack.name, "down", "-v")
    assert (stack.directory / "shared/file").read_text() == "bound\n"
    assert names(stack) == [f"{stack.name}-outer"]
    assert stack("volume", "rm", f"{stack.name}-outer").stdout == f"{stack.name}-outer\n"


def test_a_volume_in_use_is_never_removed(stack: Stack) -> None:
    stack.write("""
services:
  a: {image: pcompose/host, command: sleep infinity, volumes: ["data:/data", /anonymous]}
volumes: {data: }
""")
    stack("-p", stack.name, "up", "-d")
    stack("-p", stack.name, "stop", "-t", "0")
    before = names(stack)
    assert len(before) == 2
    refused = stack("volume", "rm", *before, ok=False)
    assert refused.returncode == 1
    assert refused.stderr.count(f"container {stack.name}-a-1 uses it") == 2
    stack("volume", "prune", "-a", "-f")
    assert names(stack) == before
    stack("-p", stack.name, "down")
    assert names(stack) == before  # without -v
    assert "no such volume: nowhere" in stack("volume", "rm", "nowhere", ok=False).stderr
    assert stack("volume", "prune", "-f").stdout.splitlines()[0] == "Deleted Volumes:"
    assert names(stack) == [f"{stack.name}_data"]
    assert stack("volume", "prune", "-a", input="n\n").stdout.startswith("This will remove all")
    assert names(stack) == [f"{stack.name}_data"]


def test_an_anonymous_volume_is_kept_until_it_is_renewed(stack: Stack) -> None:
    text = """
services:
  a: {image: pcompose/host, command: sleep %s, volumes: [{type: volume, target: /kept, volume: {labels: {x: y}}}]}
  b: {image: pcompose/host, command: sleep infinity}
"""  # noqa: E501
    stack.write(text % "1000")
    stack("-p", stack.name, "up", "-d")
    other = stack.ps()[f"{stack.name}-b-1"]["ID"]
    assert inspect(stack, names(stack)[0])["Labels"]["x"] == "y"
    stack.execute("a", "touch", "/kept/file")
    stack.write(text % "2000")
    stack("-p", stack.name, "up", "-d")
    assert stack.execute("a", "ls", "/kept") == "file\n"
    stack("-p", stack.name, "up", "-d", "-V", "a")
    assert stack.execute("a", "ls", "/kept") == ""
    assert stack.ps()[f"{stack.name}-b-1"]["ID"] == other


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("{type: nfs, device: ':/x', o: 'addr=127.0.0.1'}", "this kernel has no file system nfs"),
        ("{type: none, o: bind, device: ./absent}", "is no directory that exists"),
        ("{size: 10g}", "no option 'size'"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_made(
    stack: Stack, options: str, words: str
) -> None:
    stack.write(f"""
services:
  a: {{image: pcompose/host, command: sleep infinity, volumes: ["data:/data"]}}
volumes:
  data:
    driver_opts: {options}
""")
    told = stack("-p", stack.name, "up", "-d", ok=False).stderr
    assert "compose.yaml:6:" in told
    assert words in told
    assert stack.remains() == {}


def test_a_changed_volume_is_made_again_only_after_a_yes(stack: Stack) -> None:
    text = """
services:
  a: {image: pcompose/host, command: sleep infinity, volumes: ["data:/data"], stop_signal: SIGKILL}
  b: {image: pcompose/host, command: sleep infinity, stop_signal: SIGKILL}
volumes: {data: {labels: {x: "%s"}}}
"""
    stack.write(text % 1)
    stack("-p", stack.name, "up", "-d")
    stack.execute("a", "touch", "/data/file")
    before = {name: row["ID"] for name, row in stack.ps().items()}
    stack.write(text % 2)
    asked = f'Volume "{stack.name}_data" exists but doesn\'t match configuration in compose file.'
    for answer in ("", "n\n", "yes\n"):
        done = stack("-p", stack.name, "up", "-d", input=answer)
        assert asked in done.stdout
        assert "stays as it is" in done.stderr
    assert stack.execute("a", "ls", "/data") == "file\n"
    assert {name: row["ID"] for name, row in stack.ps().items()} == before
    stack("-p", stack.name, "up", "-d", "--yes")
    assert stack.execute("a", "ls", "/data") == ""
    after = {name: row["ID"] for name, row in stack.ps().items()}
    assert [name for name in after if after[name] != before[name]] == [f"{stack.name}-a-1"]
    assert asked not in stack("-p", stack.name, "up", "-d").stdout


def test_a_start_that_fails_before_its_network_is_there_says_why(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    command: sleep infinity
    volumes: [{type: bind, source: ., target: /x, bind: {propagation: rshared}}]
""")
    told = stack("-p", stack.name, "up", "-d", ok=False).stderr
    assert "it is not on a shared mount of this machine (compose.yaml:3)" in told
