"""Files with other names in them, and nothing else changed."""

from __future__ import annotations

import pytest

from orchestrator.spec import bundle, yaml
from orchestrator.spec.node import plain, walked

TEXTS = (
    "a: x\nb: [x, 'x', \"x\"]\n",
    "# ü\na: {b: ü, c: x}  # comment\n",
    "a: |\n  x\n  y\nb: >-\n  x\n\nc: x\n",
    "a: &it x\nb: *it\nc: &all {d: x}\ne:\n  <<: *all\n  f: *it\n",
    "- x\n-\n  - x\n  - {k: x}\n",
    "a: x\n---\nb: x\n...\n",
    "a: x\r\nb:\r\n  - x\r\n",
    "\ufeffa: x\n",
    "a: !!str x\nb: !override [x]\n",
    "'a': x\n? b\n: x\n",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_of_a_file_can_be_replaced_where_it_stands(text: str) -> None:
    data = text.encode()
    before = yaml.documents(data, file="f", shown="f")
    texts = [n for document in before for n in walked(document) if isinstance(n.value, str)]
    places = {(node.line, node.column): "new" for node in texts}
    after = yaml.documents(bundle._rewritten(data, places), file="f", shown="f")
    for node in texts:
        node.value = "new"
    assert [plain(node) for node in after] == [plain(node) for node in before]
