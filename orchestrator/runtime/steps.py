"""What a step of a container's start is, and what the steps of one child share while they run.

A step is a plain value made outside the child, sent as JSON, and executed in the child between
`clone` and `execve`: it holds everything it needs and decides nothing.  `describe()` is what a user
reads when it fails.  Knows nothing of ContainerSpec.  Imported by the keeper: no `typing`, no
`dataclasses`.
"""

from __future__ import annotations

from orchestrator.linux import chase

TYPE_CHECKING = False  # as in typing, which is not imported at run time
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.linux.fds import Channel


class Child:
    """The process between clone and exec: what one step leaves for the next."""

    __slots__ = (
        "channel", "container", "death_signal", "environment", "gid", "given", "groups", "init_fd",
        "nofile", "oom_score_adj", "proc_device", "root", "root_fd", "shared", "shm", "uid",
        "unowned",
    )  # fmt: skip

    def __init__(
        self, channel: Channel, *, oom_score_adj: int | None, nofile: tuple[int, int]
    ) -> None:
        self.channel = channel
        """To the keeper; CLOEXEC, so that its end tells the keeper that exec has happened."""
        self.oom_score_adj = oom_score_adj
        """What the keeper had before it lowered its own; None: it did not."""
        self.nofile = nofile
        """The limit of descriptors the keeper was started with."""
        self.environment: dict[str, str] = {}
        self.death_signal = 0
        """What the command gets when the process that made it ends."""
        self.root = "/"
        self.root_fd = -1
        """The container's root; -1 until it is mounted, and again after pivot_root."""
        self.init_fd = -1
        self.proc_device = -1
        """st_dev of the container's /proc."""
        self.shared: dict[str, int] = {}
        """Sources of bind mounts opened before `Propagation`: detached mounts."""
        self.shm = -1
        """The /dev/shm of another container, as a detached mount."""
        self.given: list[int] = []
        """The descriptors that came with the message: stdin, stdout, stderr."""
        self.container = -1
        """exec: the pidfd of the container to enter."""
        self.uid = 0
        self.gid = 0
        self.groups: list[int] = []
        self.unowned: list[tuple[int, int, int | None, int | None]] = []
        """Open files for the container's user: (descriptor, mode, uid, gid), None: that user's."""

    def open_target(self, path: str, *, directory: bool) -> int:
        """An O_PATH descriptor of `path` inside the root, made (with its parents) where it is not
        there; no link of the image leads out of the root."""
        return chase.open_or_make(self.root_fd, path, directory=directory)

    def open_existing(self, path: str) -> int | None:
        """An O_PATH descriptor of `path` inside the root; None if it is not there."""
        try:
            return chase.open_inside(self.root_fd, path)
        except (FileNotFoundError, NotADirectoryError):
            return None


class Step:
    """Base of all steps: the slots are the constructor's keyword arguments and the JSON keys."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, **fields: object) -> None:
        if fields.keys() != set(self.__slots__):
            wrong = sorted(fields.keys() ^ set(self.__slots__))
            raise TypeError(f"{type(self).__name__}: wrong or missing: {', '.join(wrong)}")
        for name, value in fields.items():
            setattr(self, name, value)

    def execute(self, child: Child) -> None:
        """Do it; OSError when the kernel refuses."""
        raise AssertionError(type(self).__name__)

    def describe(self) -> str:
        """What a user reads: lower case, with the path."""
        return type(self).__name__.lower()

    def to_json(self) -> dict[str, Any]:
        """Plain data; `child.step_from_json` gives back an equal step."""
        return {"step": type(self).__name__} | {n: getattr(self, n) for n in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.describe())

    def __repr__(self) -> str:
        fields = ", ".join(f"{n}={getattr(self, n)!r}" for n in self.__slots__)
        return f"{type(self).__name__}({fields})"
