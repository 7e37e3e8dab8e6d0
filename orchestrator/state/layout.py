"""Where everything lies on disk: one function per kind of path; nothing is read or made here.

A name that could lead out of its directory is refused (StateError): names come from files and
command lines.

`data` outlives a reboot ($PCOMPOSE_DATA, else /var/lib/pcompose or $XDG_DATA_HOME/pcompose);
`run` need not ($PCOMPOSE_RUN, else /run/pcompose or $XDG_RUNTIME_DIR/pcompose).

    DATA/projects/P/lock                          flock of the command that changes P
    DATA/projects/P/project.json                  ProjectRecord
    DATA/projects/P/lease.json                    LeaseRecord, where there is one
    DATA/projects/P/containers/ID/record.json     ContainerRecord
    DATA/projects/P/containers/ID/status.json     ContainerStatus
    DATA/projects/P/containers/ID/exit.json       last exit, written by the keeper
    DATA/projects/P/containers/ID/{upper,work,root,log}
    DATA/projects/P/material/DIGEST               what its secrets and configs contain
    DATA/networks/{lock,NAME.json}                NetworkRecord
    DATA/volumes.lock, volumes/NAME/{volume.json,_data}  VolumeRecord
    DATA/frozen/ID, DATA/snapshots/P/NAME.json    layers, and SnapshotRecord
    DATA/{secrets,configs}/NAME                   for `external: true`
    DATA/images/…                                 owned by image.store
    DATA/applications/…                           owned by engine.applications
    DATA/cache/…                                  may be deleted at any time
    RUN/projects/P/{control.sock,supervisor.lock,keeper.sock,keeper.lock,supervisor.log}
    RUN/projects/P/c/SHORTID/{stdin,stdout,stderr,hosts,resolv.conf,hostname}
"""

from __future__ import annotations

import os

from orchestrator.dataclass import dataclass
from orchestrator.errors import StateError


def part(name: str) -> str:
    """`name` if it can be one component of a path, else StateError."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > 200:
        raise StateError(f"{name!r} cannot be the name of a file", hint="choose a plainer name")
    return name


def _root(variable: str, system: str, xdg: str, fallback: str) -> str:
    chosen = os.environ.get(variable)
    if chosen:
        return os.path.abspath(chosen)
    if os.geteuid() == 0:
        return system
    return os.path.join(os.environ.get(xdg) or os.path.expanduser(fallback), "pcompose")


@dataclass(frozen=True, slots=True)
class Layout:
    """The two roots and every path below them."""

    data: str
    run: str

    @staticmethod
    def from_environment() -> Layout:
        """The roots of this user and environment."""
        return Layout(
            _root("PCOMPOSE_DATA", "/var/lib/pcompose", "XDG_DATA_HOME", "~/.local/share"),
            _root("PCOMPOSE_RUN", "/run/pcompose", "XDG_RUNTIME_DIR", f"/tmp/run-{os.geteuid()}"),
        )

    def images(self) -> str:
        return f"{self.data}/images"

    def applications(self) -> str:
        return f"{self.data}/applications"

    def cache(self) -> str:
        return f"{self.data}/cache"

    def projects(self) -> str:
        return f"{self.data}/projects"

    def project(self, name: str) -> str:
        return f"{self.data}/projects/{part(name)}"

    def project_lock(self, name: str) -> str:
        return f"{self.project(name)}/lock"

    def project_record(self, name: str) -> str:
        return f"{self.project(name)}/project.json"

    def project_lease(self, name: str) -> str:
        return f"{self.project(name)}/lease.json"

    def project_journal(self, name: str) -> str:
        return f"{self.project(name)}/events.jsonl"

    def containers(self, project: str) -> str:
        return f"{self.project(project)}/containers"

    def container(self, project: str, id_: str) -> str:
        return f"{self.project(project)}/containers/{part(id_)}"

    def container_record(self, project: str, id_: str) -> str:
        return f"{self.container(project, id_)}/record.json"

    def container_status(self, project: str, id_: str) -> str:
        return f"{self.container(project, id_)}/status.json"

    def container_exit(self, project: str, id_: str) -> str:
        return f"{self.container(project, id_)}/exit.json"

    def container_log(self, project: str, id_: str) -> str:
        return f"{self.container(project, id_)}/log"

    def material(self, project: str) -> str:
        return f"{self.project(project)}/material"

    def secrets(self) -> str:
        return f"{self.data}/secrets"

    def configs(self) -> str:
        return f"{self.data}/configs"

    def networks(self) -> str:
        return f"{self.data}/networks"

    def networks_lock(self) -> str:
        return f"{self.data}/networks/lock"

    def network_record(self, name: str) -> str:
        return f"{self.data}/networks/{part(name)}.json"

    def volumes(self) -> str:
        return f"{self.data}/volumes"

    def volumes_lock(self) -> str:
        return f"{self.data}/volumes.lock"

    def volume(self, name: str) -> str:
        return f"{self.data}/volumes/{part(name)}"

    def volume_record(self, name: str) -> str:
        return f"{self.volume(name)}/volume.json"

    def volume_stack(self, name: str) -> str:
        return f"{self.volume(name)}/stack.json"

    def frozen(self, id_: str) -> str:
        """A layer; with "" the directory of all of them."""
        return f"{self.data}/frozen/{part(id_)}" if id_ else f"{self.data}/frozen"

    def snapshots(self, project: str) -> str:
        return f"{self.data}/snapshots/{part(project)}"

    def snapshot(self, project: str, name: str) -> str:
        return f"{self.snapshots(project)}/{part(name)}.json"

    def volume_data(self, name: str) -> str:
        return f"{self.volume(name)}/_data"

    def run_projects(self) -> str:
        return f"{self.run}/projects"

    def run_project(self, name: str) -> str:
        return f"{self.run}/projects/{part(name)}"

    def control_socket(self, project: str) -> str:
        return f"{self.run_project(project)}/control.sock"

    def supervisor_lock(self, project: str) -> str:
        return f"{self.run_project(project)}/supervisor.lock"

    def supervisor_log(self, project: str) -> str:
        return f"{self.run_project(project)}/supervisor.log"

    def faults(self, name: str) -> str:
        return f"{self.run_project(name)}/faults.json"

    def keeper_socket(self, project: str) -> str:
        return f"{self.run_project(project)}/keeper.sock"

    def keeper_lock(self, project: str) -> str:
        return f"{self.run_project(project)}/keeper.lock"

    def container_run(self, project: str, id_: str) -> str:
        return f"{self.run_project(project)}/c/{part(id_[:12])}"
