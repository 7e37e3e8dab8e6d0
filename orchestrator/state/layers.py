"""Volumes as stacks of layers: what a snapshot freezes, and what lies above it.

    DATA/volumes/NAME/stack.json     frozen layers, the uppermost first, and the directory above
    DATA/volumes/NAME/UPPER{,.work}  what was written since
    DATA/volumes/NAME/_data          where the overlay of all that is mounted
    DATA/frozen/ID                   a layer; never written to again, and shared by whoever names it

A volume is an ordinary directory until its first snapshot.  To freeze it is to write down the new
stack, and then to move its directory to where the stack says it is; a crash between the two is
mended by whoever comes next (`settle`).  Nothing is copied, so a freeze takes as long as a rename,
and so does the way back.  All of it under `volumes_lock`, and while no container runs that has it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from orchestrator.dataclass import dataclass
from orchestrator.errors import StateError
from orchestrator.linux import overlay, procfs, syscalls
from orchestrator.state import store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.state.layout import Layout

MOST = 100
"""Layers of one volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered:
    """A volume's stack."""

    layers: tuple[str, ...]
    """Ids, the uppermost first."""
    upper: str
    """The name of a directory beside `_data`."""
    moving: str = ""
    """The name of the directory that is to become the uppermost layer, as long as it is not."""

    def to_json(self) -> dict[str, Any]:  # JSON has no narrower type
        """The content of stack.json."""
        return {"version": 1, "layers": list(self.layers), "upper": self.upper,
                "moving": self.moving}  # fmt: skip


def read(layout: Layout, name: str) -> Layered | None:
    """The stack of a volume; None: it is an ordinary directory.  StateError where it cannot be
    told: its data is in layers nobody can name."""
    data = store.read_json(layout.volume_stack(name))
    if data is None:
        return None
    layers, upper, moving = data.get("layers"), data.get("upper"), data.get("moving", "")
    if not isinstance(layers, list) or not all(_is_plain(word) for word in (*layers, upper)):
        raise StateError(f"cannot read {layout.volume_stack(name)}: it is not a stack of layers")
    return Layered(layers=tuple(layers), upper=str(upper), moving=str(moving))


def _is_plain(word: object) -> bool:
    return isinstance(word, str) and word.isalnum()


def _write(layout: Layout, name: str, layered: Layered) -> None:
    store.write_json(layout.volume_stack(name), layered.to_json())


def mount(layout: Layout, name: str) -> None:
    """Mount the volume's overlay at its data directory, where it has layers and is not mounted."""
    with store.volumes_lock(layout, command="mounting of a volume"):
        layered = read(layout, name)
        if layered is not None:
            settle(layout, name, layered)
            _mount(layout, name, layered)


def _mount(layout: Layout, name: str, layered: Layered) -> None:
    data, upper = layout.volume_data(name), f"{layout.volume(name)}/{layered.upper}"
    if is_mounted(data):
        return
    try:
        overlay.mount(data, [layout.frozen(id_) for id_ in layered.layers], upper=upper,
                      work=f"{upper}.work", nodev=False)  # fmt: skip
    except OSError as exc:
        raise StateError(f"cannot mount volume {name}: {exc.strerror}",
                         hint="its layers are in the directory `frozen`") from exc  # fmt: skip


def settle(layout: Layout, name: str, layered: Layered) -> None:
    """Bring what is on disk to what the stack says."""
    directory, data = layout.volume(name), layout.volume_data(name)
    try:
        if layered.moving and not os.path.isdir(layout.frozen(layered.layers[0])):
            unmount(data)
            os.makedirs(layout.frozen(""), mode=0o700, exist_ok=True)
            os.rename(f"{directory}/{layered.moving}", layout.frozen(layered.layers[0]))
        if not os.path.isdir(data):
            os.mkdir(data, 0o755)
        elif not is_mounted(data) and os.listdir(data):  # of before the stack was put in place
            os.rename(data, f"{directory}/.removed-{os.urandom(4).hex()}")
            os.mkdir(data, 0o755)
        _make_upper(layout, f"{directory}/{layered.upper}", layered)
    except OSError as exc:
        raise StateError(f"cannot put the layers of volume {name} in place: {exc}") from exc
    _sweep(layout, name, layered)


def _make_upper(layout: Layout, upper: str, layered: Layered) -> None:
    """The root of an overlay looks like its upper directory."""
    os.makedirs(f"{upper}.work", mode=0o700, exist_ok=True)
    if os.path.isdir(upper):
        return
    making = f"{upper}.new"
    os.makedirs(making, mode=0o700, exist_ok=True)
    status = os.stat(layout.frozen(layered.layers[0])) if layered.layers else None
    if status is not None:
        os.chown(making, status.st_uid, status.st_gid)
        os.chmod(making, stat.S_IMODE(status.st_mode))
    else:
        os.chmod(making, 0o755)
    os.rename(making, upper)


def _sweep(layout: Layout, name: str, layered: Layered) -> None:
    """Directories of former stacks."""
    wanted = {"_data", layered.upper, f"{layered.upper}.work"}
    with os.scandir(layout.volume(name)) as entries:
        former = [e.path for e in entries if e.is_dir(follow_symlinks=False)
                  and e.name not in wanted]  # fmt: skip
    for path in former:
        store.remove_tree(path)


def freeze(layout: Layout, name: str) -> tuple[str, ...]:
    """The layers that are the volume as it is now; from here on it is written above them.  Hold
    `volumes_lock`.  One that was not written to since it was frozen stays as it is."""
    layered = read(layout, name)
    if layered is not None:
        settle(layout, name, layered)
        if not os.listdir(f"{layout.volume(name)}/{layered.upper}"):
            return layered.layers
        if len(layered.layers) >= MOST:
            raise StateError(f"volume {name} has {MOST} layers already",
                             hint="restore an earlier snapshot before you save another")
    data = layout.volume_data(name)
    unmount(data)
    below, moving = (layered.layers, layered.upper) if layered else ((), "_data")
    now = Layered(layers=(_new_id(), *below), upper=_new_id(), moving=moving)
    _write(layout, name, now)
    settle(layout, name, now)
    _write(layout, name, Layered(layers=now.layers, upper=now.upper))
    return now.layers


def replace(layout: Layout, name: str, layers: tuple[str, ...]) -> None:
    """Make the volume what the layers are, whatever it was.  Hold `volumes_lock`."""
    for id_ in layers:
        if not os.path.isdir(layout.frozen(id_)):
            raise StateError(f"cannot restore volume {name}: layer {id_} is not there")
    unmount(layout.volume_data(name))
    now = Layered(layers=layers, upper=_new_id())
    _write(layout, name, now)
    settle(layout, name, now)
    _forbid_population(layout, name)


def _forbid_population(layout: Layout, name: str) -> None:
    """What an image has for an empty volume is not for this one; see `runtime.populate`."""
    path = f"{layout.volume(name)}/populated"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))


def _new_id() -> str:
    return os.urandom(8).hex()


def collect(layout: Layout, *, kept: Iterable[str]) -> None:
    """Remove the layers that no volume has and that are not among `kept`.  Hold `volumes_lock`."""
    used = set(kept)
    for entry in store.scan(layout.volumes()):
        layered = read(layout, entry.name)
        used |= set(layered.layers) if layered else set()
    for entry in store.scan(layout.frozen("")):
        if entry.name not in used:
            store.remove_tree(entry.path)


def is_mounted(path: str) -> bool:
    """Whether something is mounted there."""
    real = os.path.realpath(path)
    return any(mount.target == real for mount in procfs.mountinfo())


def unmount(path: str) -> None:
    """Unmount all that is mounted there; StateError."""
    try:
        while is_mounted(path):
            syscalls.umount2(path, syscalls.MNT_DETACH)
    except OSError as exc:
        raise StateError(f"cannot unmount {path}: {exc.strerror}") from exc
