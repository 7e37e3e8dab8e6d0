"""Where a container's first process is put: cgroups we make ourselves, or a scope of systemd.

Our own are made and limited before the clone, and the process is born in the version 2 one; a scope
is made by systemd around a process that is there, so it is limited after the clone.
"""

from __future__ import annotations

from orchestrator.linux import cgroupfs, systemd
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime.oci import groups
from orchestrator.runtime.oci.faults import OciError, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.runtime.oci.config import Config
    from orchestrator.runtime.oci.namespaces import Namespaces

    Warn = Callable[[str], None]


class Place:
    """The groups of one container: `group` is controller -> directory, `to_make` what of it has to
    be made."""

    def __init__(
        self, config: Config, container_id: str, namespaces: Namespaces, *, by_systemd: bool,
        warn: Warn,
    ) -> None:
        self._config = config
        self._namespaces = namespaces
        self._warn = warn
        self._resources: dict[str, Any] = config["linux"].get("resources", {})
        self._scope: tuple[str, str] | None = None
        hierarchy = Hierarchy.detect()
        path = config["linux"].get("cgroupsPath", "")
        if by_systemd:
            self._scope = _scope_of(path, container_id, hierarchy)
            slice_name, unit = self._scope
            path = f"{systemd.slice_path(slice_name)}/{unit}"
        self.group = groups.choose(path, container_id, hierarchy)
        self.to_make = [self.group[""]] if by_systemd else groups.missing(self.group)

    def before_clone(self) -> None:
        """Make and limit the groups that are ours; OciError."""
        if self._scope is None:
            groups.make(self.group)
            self._limit()

    def open_birth(self) -> int | None:
        """The group the process is to be born in; None: it is moved afterwards."""
        return None if self._scope else cgroupfs.open_unified(self.group)

    def after_clone(self, pid: int, *, born: bool) -> None:
        """The process is in all groups, and these are limited; OciError."""
        if self._scope is None:
            groups.enter(self.group, pid, born=born)
            return
        slice_name, unit = self._scope
        socket = systemd.manager_socket()
        assert socket is not None
        try:
            systemd.start_scope(socket, unit, slice_name=slice_name, pid=pid,
                                limits=_properties(self._resources))
        except OSError as exc:
            raise OciError(f"cannot make the scope {unit}: {words_of(exc)}") from exc
        self._limit()

    def _limit(self) -> None:
        groups.limit(self.group, self._resources, warn=self._warn)
        groups.allow_devices(self.group, self._resources)
        self._delegate()

    def _delegate(self) -> None:
        """A container with a cgroup namespace of its own and a cgroup2 it may write to manages what
        is below its group."""
        writable = any(
            mount.get("type", "").startswith("cgroup") and "ro" not in mount.get("options", ())
            for mount in self._config.get("mounts", ()))  # fmt: skip
        is_version_2 = set(self.group.values()) == {self.group.get("")}
        if not writable or not is_version_2 or "cgroup" not in self._namespaces.new:
            return
        for entry in self._namespaces.uid_map:
            if entry["containerID"] == 0:
                groups.delegate(self.group, entry["hostID"])


def _scope_of(path: str, container_id: str, hierarchy: Hierarchy) -> tuple[str, str]:
    """(slice, scope) of `SLICE:PREFIX:NAME`, as engines write it."""
    if hierarchy.kind != "unified" or systemd.manager_socket() is None:
        raise OciError("--systemd-cgroup needs cgroup v2 alone and a systemd that answers")
    parts = path.split(":") if path else ["", "pcompose-oci", container_id]
    if len(parts) != 3 or not parts[2] or "/" in path:
        raise OciError(f"config: linux.cgroupsPath {path!r} is not SLICE:PREFIX:NAME")
    slice_name, prefix, name = parts
    slice_name = slice_name or ("system.slice" if hierarchy.unified == "/sys/fs/cgroup" else (
        "user.slice"))
    try:
        systemd.slice_path(slice_name)
    except ValueError as exc:
        raise OciError(f"config: linux.cgroupsPath: {exc}") from exc
    return slice_name, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"


def _properties(resources: dict[str, Any]) -> dict[str, int]:
    """The limits systemd should know too, so that it does not write others later."""
    found = {}
    memory = resources.get("memory", {}).get("limit") or 0
    pids = resources.get("pids", {}).get("limit", -1)
    shares = resources.get("cpu", {}).get("shares")
    if memory > 0:
        found["MemoryMax"] = memory
    if pids > 0:
        found["TasksMax"] = pids
    if shares:
        found["CPUWeight"] = cgroupfs.weight_of_shares(shares)
    return found
