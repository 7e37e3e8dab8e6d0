"""develop.watch: paths and rules in, work out; and trees watched for real."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.engine.treewatch import TreeWatch
from orchestrator.engine.watching import QUICK, SETTLED, Batch
from orchestrator.engine.watchrules import SCRATCH, Rule, decide, patterns, rules
from orchestrator.errors import PcomposeError
from tests.spec.loading import loaded

if TYPE_CHECKING:
    from pathlib import Path


def rule(
    action: Any = "sync", *, service: str = "web", root: str = "/src", target: str = "/app",
    ignore: tuple[str, ...] = (), include: tuple[str, ...] = (), **more: Any,
) -> Rule:  # fmt: skip
    return Rule(
        service=service, number=0, action=action, root=root, is_file=False, target=target,
        exec=None, initial_sync=False, ignored=patterns((*SCRATCH, *ignore)),
        included=patterns(include), **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("/src/a.py", True), ("/src/sub/a.py", True), ("/src", False), ("/srcs/a.py", False),
        ("/other/a.py", False), ("/src/.git/HEAD", False), ("/src/a.py~", False),
        ("/src/sub/.a.py.swp", False), ("/src/4913", False), ("/src/node_modules/x", False),
        ("/src/keep.log", True), ("/src/drop.log", False), ("/src/vendor/x", False),
    ],
)  # fmt: skip
def test_what_is_ignored_is_not_covered(path: str, covered: bool) -> None:
    known = rule(ignore=("node_modules/", "*.log", "!keep.log"), context="/src",
                 context_ignored=patterns(("vendor",)))  # fmt: skip
    assert known.covers(path) is covered


def test_include_narrows_and_ignore_wins() -> None:
    known = rule(include=("*.py", "conf/**"), ignore=("conf/secret",))
    paths = ["/src/a.py", "/src/a.txt", "/src/conf/x/y", "/src/conf/secret"]
    assert list(map(known.covers, paths)) == [True, False, True, False]


def test_a_directory_is_entered_unless_nothing_in_it_can_be_covered() -> None:
    known = rule(ignore=("build", "!build/keep", "node_modules"))
    places = ["/src", "/src/sub", "/src/build", "/src/node_modules", "/elsewhere"]
    assert list(map(known.enters, places)) == [True, True, True, False, False]


def test_changes_are_folded_and_a_rebuild_makes_the_rest_needless() -> None:
    known = [
        rule(), rule("sync+restart", root="/conf", target="/etc/app"),
        rule("rebuild", root="/src/package.json", target=""),
        rule("restart", service="job", root="/src", target=""),
    ]  # fmt: skip
    work = decide(["/src/b/c.py", "/src/a.py", "/conf/x"], known)
    assert work.sync == {"web": {"/src/a.py": "/app/a.py", "/src/b/c.py": "/app/b/c.py",
                                 "/conf/x": "/etc/app/x"}}  # fmt: skip
    assert (work.restart, work.rebuild) == (["web", "job"], [])
    whole = Rule(service="web", number=2, action="rebuild", root="/src/package.json", is_file=True,
                 target="", exec=None, initial_sync=False, ignored=patterns(()),
                 included=patterns(()))  # fmt: skip
    work = decide(["/src/a.py", "/src/package.json"], [known[0], whole, known[3]])
    assert (work.rebuild, work.sync, work.restart) == (["web"], {}, ["job"])


def test_a_burst_is_one_batch_and_few_changes_are_quick() -> None:
    batch = Batch()
    batch.add(["/a"], now=1.0)
    assert batch.due == 1.0 + QUICK
    for number in range(500):
        batch.add([f"/{number}"], now=1.0 + number / 1000)
    assert batch.due == pytest.approx(1.499 + SETTLED)
    batch.add(["/a"], now=9.0)  # nothing new: whoever writes one file for ever is heard
    assert batch.due == pytest.approx(1.499 + SETTLED)
    assert len(batch.take()) == 501
    assert Batch().due is batch.due is None


def test_what_cannot_be_watched_is_refused_with_its_place(tmp_path: Path) -> None:
    text = "services: {a: {image: i, develop: {watch: [{path: %s, action: %s, target: /x}]}}}"
    (tmp_path / "there").mkdir()
    for path, action, words in (
        ("./there", "rebuild", "with action rebuild without a build context"),
        ("./absent", "sync", "it does not exist"),
    ):
        project = loaded(tmp_path, text % (path, action))
        with pytest.raises(PcomposeError, match=words) as failed:
            rules(project, ["a"], skipped=[])
        assert "compose.yaml:1:" in failed.value.message
    with pytest.raises(PcomposeError, match="none of the selected services"):
        rules(loaded(tmp_path, "services: {a: {image: i}}"), ["a"], skipped=[])


def test_a_bind_mount_of_the_container_is_not_synced(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    project = loaded(tmp_path, """
services:
  a:
    image: i
    volumes: [".:/app"]
    develop: {watch: [{path: ./src, action: sync, target: /app/src}]}
""")
    skipped: list[str] = []
    assert rules(project, ["a"], skipped=skipped) == []
    assert "is a bind mount of it" in skipped[0]


# trees


class Tree:
    def __init__(self, root: Path, *others: str) -> None:
        self.root = root
        self.watch = TreeWatch([str(root), *others], enters=lambda p: not p.endswith("/skip"))

    def changed(self, *wanted: str) -> set[str]:
        """Names below the root that have changed, once all those wanted have."""
        found: set[str] = set()
        while not set(wanted) <= found:
            assert select.select([self.watch], [], [], 10)[0], f"{wanted}, so far {found}"
            found |= {os.path.relpath(path, self.root) for path in self.watch.read()}
        return found


def test_files_are_seen_however_they_change(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "skip").mkdir()
    (tmp_path / "old").write_text("x")
    tree = Tree(tmp_path)
    (tmp_path / "skip" / "unseen").write_text("x")
    (tmp_path / "sub" / "a").write_text("x")
    assert tree.changed("sub/a") == {"sub/a"}
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "deep").mkdir()
    (tmp_path / "new" / "deep" / "b").write_text("x")
    tree.changed("new/deep/b")
    (tmp_path / "old").rename(tmp_path / "sub" / "older")
    assert tree.changed("old", "sub/older") == {"old", "sub/older"}
    (tmp_path / "sub" / "link").symlink_to("older")
    assert "sub/link" in tree.changed("sub/link")
    (tmp_path / "sub" / "a").unlink()
    assert tree.changed("sub/a") == {"sub/a"}
    (tmp_path / "new").rename(tmp_path / "other")
    assert {"new", "other/deep/b"} <= tree.changed("new", "other/deep/b")
    (tmp_path / "other" / "deep" / "c").write_text("x")
    assert tree.changed("other/deep/c") == {"other/deep/c"}
    tree.watch.close()


def test_a_file_is_watched_also_when_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    file = tmp_path / "dir" / "conf"
    file.write_text("x")
    watch = TreeWatch([str(file)], enters=lambda path: True)
    (tmp_path / "dir" / "other").write_text("x")
    (tmp_path / "dir" / "new").write_text("y")
    (tmp_path / "dir" / "new").rename(file)
    found: set[str] = set()
    while not found:
        assert select.select([watch], [], [], 10)[0]
        found = watch.read()
    assert found == {str(file)}
    watch.close()
