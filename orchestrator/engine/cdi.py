"""CDI: devices that a vendor's files describe (Container Device Interface specification, SPEC.md).

`vendor.com/class=name` means device nodes, mounts, variables, groups and hooks.  The files are JSON
or YAML in /etc/cdi and /var/run/cdi, where the latter wins; PCOMPOSE_CDI names other directories.
Every edit a file asks for is carried out, or the device is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import SpecError
from orchestrator.runtime.spec import Device, Mount, RootHook
from orchestrator.spec import yaml
from orchestrator.spec.model import DeviceRequest
from orchestrator.spec.node import plain

DIRECTORIES = "/etc/cdi:/var/run/cdi"
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_-]*")
_NOT_DONE = ("intelRdt", "netDevices")
_HOOKS = ("createContainer",)
_NODE_ONLY_HOSTS = ("fileMode", "uid", "gid")
_LARGEST = 8 << 20

Json = Any  # what a file holds is looked at piece by piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What devices do to a container."""

    devices: tuple[Device, ...] = ()
    mounts: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    hooks: tuple[RootHook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    """One device of a file."""

    path: str
    common: Mapping[str, Json]
    """The edits every device of the file brings."""
    own: Mapping[str, Json]


class Registry:
    """The devices of this machine, read when the first one is asked for; ValueError says which file
    is wrong."""

    def __init__(self, directories: Sequence[str] | None = None) -> None:
        text = os.environ.get("PCOMPOSE_CDI") or DIRECTORIES
        self._directories = list(directories) if directories is not None else text.split(":")
        self._found: dict[str, _Described] | None = None

    @property
    def _devices(self) -> dict[str, _Described]:
        if self._found is None:
            self._found = {}
            for directory in self._directories:  # a later one wins
                here: dict[str, _Described] = {}
                for path in _files(directory):
                    for name, device in _read(path):
                        if name in here:
                            raise ValueError(f"CDI device {name} is described twice: in "
                                             f"{here[name].path} and {path}")  # fmt: skip
                        here[name] = device
                self._found.update(here)
        return self._found

    def names(self, kind: str) -> list[str]:
        """The devices of a kind, `0` before `10`."""
        found = [n.partition("=")[2] for n in self._devices if n.partition("=")[0] == kind]
        return sorted(found, key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0, n))

    def kinds(self, device_class: str) -> list[str]:
        """The kinds of a class, such as `nvidia.com/gpu` of `gpu`."""
        kinds = {name.partition("=")[0] for name in self._devices}
        return sorted(kind for kind in kinds if kind.partition("/")[2] == device_class)

    def edits(self, names: Sequence[str]) -> Edits:
        """What these devices do, each and each file once; ValueError for one that is not there."""
        found = Edits()
        seen: set[str] = set()
        for name in dict.fromkeys(names):
            device = self._devices.get(name)
            if device is None:
                raise ValueError(f"no CDI device {name} in {', '.join(self._directories)}")
            if device.path not in seen:
                seen.add(device.path)
                found = _merged(found, device.common, device.path)
            found = _merged(found, device.own, device.path)
        return found

    def requested(self, request: DeviceRequest) -> list[str]:
        """The names that an entry of `gpus` or of device reservations means; ValueError where there
        is nothing that fits."""
        if request.driver == "cdi":
            return list(request.device_ids)
        kind = self._kind(request)
        if request.device_ids:
            return [f"{kind}={name}" for name in request.device_ids]
        there = self.names(kind)
        if request.count is None or request.count < 0:
            return [f"{kind}={name}" for name in (["all"] if "all" in there else there)]
        single = [name for name in there if name != "all"]
        if len(single) < request.count:
            raise ValueError(f"{request.count} devices of {kind} are asked for, there are "
                             f"{len(single)}")  # fmt: skip
        return [f"{kind}={name}" for name in single[: request.count]]

    def _kind(self, request: DeviceRequest) -> str:
        if request.driver:
            classes = [c for c in request.capabilities if self.kinds(c)] or ["gpu"]
            return f"{request.driver}.com/{classes[0]}"
        for capability in request.capabilities:
            kinds = self.kinds(capability)
            if len(kinds) > 1:
                raise ValueError(f"devices of several kinds are {capability}: {', '.join(kinds)}; "
                                 "say which with `driver`")  # fmt: skip
            if kinds:
                return kinds[0]
        wanted = ", ".join(request.capabilities) or "of the kind asked for"
        raise ValueError(f"no device here is {wanted}: no CDI file in "
                         f"{', '.join(self._directories)} describes one")  # fmt: skip


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [os.path.join(directory, n) for n in names if n.endswith((".json", ".yaml", ".yml"))]


def _read(path: str) -> Iterator[tuple[str, _Described]]:
    """The devices of a file by their whole names."""
    try:
        with open(path, "rb") as file:
            documents = yaml.documents(file.read(_LARGEST), file=path, shown=path)
    except OSError as exc:
        raise ValueError(f"CDI file {path}: {exc.strerror}") from exc
    except SpecError as exc:
        raise ValueError(f"CDI file {exc.message}") from exc
    for document in documents:
        top = _mapping(plain(document), path, "the file")
        kind = str(top.get("kind"))
        if not _KIND.fullmatch(kind):
            raise ValueError(f"CDI file {path}: kind {kind!r} is not of the form vendor/class")
        common = _mapping(top.get("containerEdits") or {}, path, "containerEdits")
        for entry in _list(top, "devices", path):
            device = _mapping(entry, path, "a device")
            own = _mapping(device.get("containerEdits") or {}, path, "containerEdits")
            yield f"{kind}={device.get('name')}", _Described(path=path, common=common, own=own)


def _merged(found: Edits, edits: Mapping[str, Json], path: str) -> Edits:
    """The edits with more of them."""
    for key in _NOT_DONE:
        if edits.get(key):
            raise ValueError(f"CDI file {path}: {key} is not supported")
    variables = [str(text).partition("=") for text in _list(edits, "env", path)]
    return Edits(
        devices=(*found.devices, *(_node(e, path) for e in _list(edits, "deviceNodes", path))),
        mounts=(*found.mounts, *(_mount(e, path) for e in _list(edits, "mounts", path))),
        environment={**found.environment, **{name: value for name, _, value in variables}},
        groups=(*found.groups, *(str(g) for g in _list(edits, "additionalGids", path) if g)),
        hooks=(*found.hooks, *(_hook(e, path) for e in _list(edits, "hooks", path))),
    )  # fmt: skip


def _node(entry: Json, path: str) -> Device:
    node = _mapping(entry, path, "a device node")
    for key in _NODE_ONLY_HOSTS:
        if node.get(key) is not None:
            raise ValueError(f"CDI file {path}: {key} of a device node is not supported: it has "
                             "that of the machine")  # fmt: skip
    target = _path(node, "path", path)
    source = _path(node, "hostPath", path) if node.get("hostPath") else target
    permissions = str(node.get("permissions") or "rwm")
    if set(permissions) - set("rwm"):
        raise ValueError(f"CDI file {path}: permissions {permissions!r} are not some of r, w, m")
    return Device(source=source, target=target, permissions=permissions)


_PROPAGATIONS = tuple(f"{r}{kind}" for r in ("", "r") for kind in ("private", "slave", "shared"))
_ALWAYS = ("bind", "rbind", "rw", "nosuid", "nodev", "defaults")
"""Options of a mount that say what ours are anyway, or allow less than they could."""


def _mount(entry: Json, path: str) -> Mount:
    mount = _mapping(entry, path, "a mount")
    options = [str(option) for option in _list(mount, "options", path)]
    unknown = [o for o in options if o not in (*_ALWAYS, *_PROPAGATIONS, "ro")]
    if unknown or mount.get("type") not in (None, "", "bind", "none"):
        what = ", ".join(unknown) or f"type {mount.get('type')}"
        raise ValueError(f"CDI file {path}: {what} of a mount is not supported")
    propagation = next((o for o in options if o in _PROPAGATIONS), "rprivate")
    return Mount(
        type="bind", source=_path(mount, "hostPath", path), read_only="ro" in options,
        target=_path(mount, "containerPath", path), propagation=propagation, origin=path,
        recursive="disabled" if "bind" in options and "rbind" not in options else "enabled",
    )  # fmt: skip


def _hook(entry: Json, path: str) -> RootHook:
    hook = _mapping(entry, path, "a hook")
    name = str(hook.get("hookName"))
    if name not in _HOOKS:
        raise ValueError(f"CDI file {path}: {name} hooks are not supported")
    timeout = hook.get("timeout")
    pairs = [str(text).partition("=") for text in _list(hook, "env", path)]
    return RootHook(
        path=_path(hook, "path", path), args=tuple(str(a) for a in _list(hook, "args", path)),
        environment={key: value for key, _, value in pairs},
        timeout=float(timeout) if isinstance(timeout, int | float) else None,
    )  # fmt: skip


def _path(entry: Mapping[str, Json], key: str, path: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"CDI file {path}: {key} {value!r} is no absolute path")
    return value


def _mapping(value: Json, path: str, what: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise ValueError(f"CDI file {path}: {what} is not a mapping")
    return value


def _list(entry: Mapping[str, Json], key: str, path: str) -> list[Json]:
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"CDI file {path}: {key} is not a list")
    return value
