"""Who a container runs as, by value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.runtime.user import identify

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:Web:/srv/www:/bin/false\n99:x:5:5::/five:\n"
GROUP = "root:x:0:\nstaff:x:50:web,other\nadm:x:4:web\nlone:x:70:\n"


def ids(user: str, *group_add: str) -> tuple[int, int, list[int], str]:
    found = identify(user, group_add=group_add, passwd=PASSWD, group=GROUP)
    return found.uid, found.gid, found.groups, found.home


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, [], "/root")),
        ("web", (33, 44, [4, 50], "/srv/www")),
        ("33", (33, 44, [4, 50], "/srv/www")),
        ("web:staff", (33, 50, [], "/srv/www")),
        ("web:7", (33, 7, [], "/srv/www")),
        ("1234", (1234, 0, [], "/")),
        ("1234:70", (1234, 70, [], "/")),
        ("99", (5, 5, [], "/five")),
        (":staff", (0, 50, [], "/root")),
        ("web:", (33, 44, [4, 50], "/srv/www")),
    ],
)
def test_a_user_is_found_by_name_then_by_number(
    user: str, expected: tuple[int, int, list[int], str]
) -> None:
    assert ids(user) == expected


def test_more_groups_are_added_by_name_and_number() -> None:
    assert ids("web:staff", "lone", "9")[2] == [9, 70]


@pytest.mark.parametrize("user", ["nobody", "web:none", "-1", "0x10", "4294967295", "٣"])
def test_an_unknown_name_or_a_wrong_number_is_refused(user: str) -> None:
    with pytest.raises(OSError, match=r"no (user|group) of this name|out of range"):
        ids(user)


@given(st.text(), st.text(), st.text(), st.lists(st.text()))
def test_no_text_breaks_it(user: str, passwd: str, group: str, group_add: list[str]) -> None:
    try:
        found = identify(user, group_add=group_add, passwd=passwd, group=group)
    except OSError:
        return
    assert 0 <= found.uid < 2**32 - 1
    assert all(0 <= gid < 2**32 - 1 for gid in (found.gid, *found.groups))


def test_broken_lines_are_skipped() -> None:
    passwd = "web:x:notanumber:1:::\nweb:x:1\n+::::::\nweb:x:3:4::/w:\n"
    assert identify("web", group_add=(), passwd=passwd, group="g:x::web\n").uid == 3
