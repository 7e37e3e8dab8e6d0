"""`driver_opts` of the driver local, read as mount(8) reads them."""

from __future__ import annotations

import pytest

from orchestrator.linux import syscalls
from orchestrator.state.driveropts import Mounting, is_bind, mounts


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"type": "none", "o": "bind", "device": "/srv"},
         [Mounting("/srv", "", syscalls.MS_BIND, "")]),
        ({"o": "rbind,ro", "device": "/srv"},
         [Mounting("/srv", "", syscalls.MS_BIND | syscalls.MS_REC, ""),
          Mounting("", "", syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY, "")]),
        ({"type": "tmpfs", "device": "tmpfs", "o": "size=10m, uid=1000,noexec"},
         [Mounting("tmpfs", "tmpfs", syscalls.MS_NOEXEC, "size=10m,uid=1000")]),
        ({"type": "nfs", "device": ":/export", "o": "addr=10.0.0.1,rw,nfsvers=4"},
         [Mounting(":/export", "nfs", 0, "addr=10.0.0.1,nfsvers=4")]),
    ],
)  # fmt: skip
def test_options_are_one_mount_or_a_bind_and_its_flags(
    options: dict[str, str], expected: list[Mounting]
) -> None:
    assert mounts(options) == expected
    assert is_bind(options) == bool(expected[0].flags & syscalls.MS_BIND)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "10g"}, "no option 'size'"),
        ({"type": "tmpfs"}, "no `device`"),
        ({"type": "none", "device": "/srv"}, "neither `type` names a file system"),
        ({"o": "bind,size=1", "device": "/srv"}, "a bind mount has no option 'size=1'"),
    ],
)
def test_what_does_not_fit_is_said(options: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mounts(options)
