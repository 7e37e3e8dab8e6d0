"""From the volumes of a service and an image to the mounts of one container.

Pure: names and paths in, mounts out; whether a source exists is asked by `engine.preflight`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

from orchestrator.dataclass import dataclass, replace
from orchestrator.plan import resources
from orchestrator.runtime.spec import Mount
from orchestrator.spec.model import Project, Service, Volume, VolumeMount
from orchestrator.state import driveropts
from orchestrator.state.layout import Layout

_FILE_LIKE = re.compile(r".*[^.]\.(?!d$)[A-Za-z][A-Za-z0-9_-]{0,9}")
_TMPFS_DEFAULTS = (("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounting:
    """The mounts of a container and the volumes behind them, by target."""

    mounts: tuple[Mount, ...]
    anonymous: Mapping[str, str]
    """target -> volume name."""
    named: Mapping[str, str]
    """target -> volume name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What another container lends (`volumes_from`)."""

    mounts: tuple[Mount, ...]
    volumes: Mapping[str, str]
    """target -> volume name."""
    read_only: bool = False


_NO_LAYERS: Mapping[int, tuple[str, ...]] = {}


def looks_like_a_file(path: str) -> bool:
    """Whether the last part of `path` has an extension: `nginx.conf`, but not `conf.d` or
    `data-1.2`."""
    return _FILE_LIKE.fullmatch(path.rstrip("/").rpartition("/")[2]) is not None


def mounting(
    service: Service, *, project: Project, layout: Layout, image_volumes: Sequence[str],
    inherited: Mapping[str, str], new_name: Callable[[], str],
    image_layers: Mapping[int, tuple[str, ...]] = _NO_LAYERS, lent: Sequence[Lent] = (),
) -> Mounting:  # fmt: skip
    """Mounts in the order of the file, then tmpfs, then those of `volumes_from` and the VOLUMEs of
    the image that nothing covers.  `inherited` gives the anonymous volumes of the container that is
    replaced, `image_layers` the layers of the images that are mounted, by the number of the
    volume."""
    mounts: list[Mount] = []
    anonymous: dict[str, str] = {}
    named: dict[str, str] = {}
    for number, volume in enumerate(service.volumes):
        origin = project.where("services", service.name, "volumes", number)
        if volume.type == "volume" and volume.source is None:
            anonymous[volume.target] = inherited.get(volume.target) or new_name()
        elif volume.type == "volume":
            named[volume.target] = resources.volume_of(project, volume.source or "").name
        name = anonymous.get(volume.target) or named.get(volume.target)
        if volume.type == "image":
            mounts.append(Mount(type="image", target=volume.target, layers=image_layers[number],
                                subpath=volume.subpath or "", read_only=True, origin=origin))
        else:
            mounts.append(_mount(volume, layout=layout, name=name, origin=origin))
    mounts += [_tmpfs(text, project.where("services", service.name, "tmpfs"))
               for text in service.tmpfs]  # fmt: skip
    covered = {m.target for m in mounts}
    for one in lent:
        for mount in one.mounts:
            if mount.target not in covered and mount.type in ("bind", "volume"):
                covered.add(mount.target)
                mounts.append(replace(mount, read_only=mount.read_only or one.read_only))
                if mount.target in one.volumes:
                    named[mount.target] = one.volumes[mount.target]
    for target in image_volumes:
        target = _clean(target)
        if target not in covered:
            covered.add(target)
            anonymous[target] = inherited.get(target) or new_name()
            source = layout.volume_data(anonymous[target])
            mounts.append(Mount(type="volume", target=target, source=source, populate=True,
                                origin=f"VOLUME of image {service.image}"))  # fmt: skip
    return Mounting(mounts=tuple(mounts), anonymous=anonymous, named=named)


def driver_opts(volume: Volume, project: Project) -> dict[str, str]:
    """The options of a volume with an absolute device where it is a directory."""
    options = dict(volume.driver_opts)
    device = options.get("device", "")
    if device and driveropts.is_bind(options) and not device.startswith("/"):
        options["device"] = posixpath.normpath(posixpath.join(project.working_dir, device))
    return options


def _clean(target: str) -> str:
    parts = [p for p in target.split("/") if p not in ("", ".")]
    return "/" + "/".join(parts)


def _mount(volume: VolumeMount, *, layout: Layout, name: str | None, origin: str) -> Mount:
    if volume.type == "tmpfs":
        options = _tmpfs_options(volume)
        return Mount(type="tmpfs", target=volume.target, read_only=volume.read_only,
                     options=options, origin=origin)  # fmt: skip
    if volume.type == "bind":
        return Mount(
            type="bind", target=volume.target, source=volume.source, read_only=volume.read_only,
            create_source=may_create_source(volume), propagation=volume.propagation,
            recursive=volume.recursive, origin=origin,
        )  # fmt: skip
    return Mount(
        type="volume", target=volume.target, source=layout.volume_data(name or ""),
        read_only=volume.read_only, populate=not volume.nocopy and not volume.subpath,
        subpath=volume.subpath or "", origin=origin,
    )  # fmt: skip


def may_create_source(volume: VolumeMount) -> bool:
    """A missing directory may be made; a missing file must not become a directory."""
    if not volume.create_host_path:
        return False
    return not (looks_like_a_file(volume.source or "") or looks_like_a_file(volume.target))


def _tmpfs_options(volume: VolumeMount) -> tuple[str, ...]:
    options = [negative for negative, _ in _TMPFS_DEFAULTS]
    if volume.tmpfs_size is not None:
        options.append(f"size={volume.tmpfs_size}")
    if volume.tmpfs_mode is not None:
        options.append(f"mode={volume.tmpfs_mode:o}")
    return tuple(options)


def _tmpfs(text: str, origin: str) -> Mount:
    """`/run`, `/run:size=64m,mode=1777,exec`."""
    target, _, rest = text.partition(":")
    said = [word for word in rest.split(",") if word]
    options = [neg for neg, positive in _TMPFS_DEFAULTS if positive not in said and neg not in said]
    options += [w for w in said if w not in ("rw", "ro", "exec", "suid", "dev")]
    return Mount(type="tmpfs", target=_clean(target), read_only="ro" in said,
                 options=tuple(options), origin=origin)  # fmt: skip
