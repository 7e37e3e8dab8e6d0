"""Names, labels and ids: how a project, a container, a network and a volume are called.

Sources: compose-go `loader/normalize.go` rules as described in the Compose specification, and the
names docker compose gives.  Pure; knows nothing of files or the kernel.
"""

from __future__ import annotations

import os
import re

LABEL_PREFIX = "com.docker.compose."
LABEL_PROJECT = LABEL_PREFIX + "project"
LABEL_SERVICE = LABEL_PREFIX + "service"
LABEL_VERSION = LABEL_PREFIX + "version"
LABEL_WORKING_DIR = LABEL_PREFIX + "project.working_dir"
LABEL_CONFIG_FILES = LABEL_PREFIX + "project.config_files"
LABEL_ENVIRONMENT_FILE = LABEL_PREFIX + "project.environment_file"
LABEL_ONEOFF = LABEL_PREFIX + "oneoff"
LABEL_CONFIG_HASH = LABEL_PREFIX + "config-hash"
LABEL_NUMBER = LABEL_PREFIX + "container-number"
LABEL_SLUG = LABEL_PREFIX + "slug"
LABEL_DEPENDS_ON = LABEL_PREFIX + "depends_on"
LABEL_IMAGE = LABEL_PREFIX + "image"
LABEL_HOOK = LABEL_PREFIX + "hook"
LABEL_NETWORK = LABEL_PREFIX + "network"
LABEL_VOLUME = LABEL_PREFIX + "volume"
LABEL_ANONYMOUS = "com.docker.volume.anonymous"

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")


def is_project_name(name: str) -> bool:
    """Whether `name` may be given with -p or COMPOSE_PROJECT_NAME as it is."""
    return _PROJECT.fullmatch(name) is not None


def normalise_project_name(name: str) -> str:
    """The project name docker compose makes of a directory or of `name:`; may be empty."""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def container_name(project: str, service: str, index: int, *, separator: str = "-") -> str:
    """`<project>-<service>-<index>`, the default name of a replica; `_` between the parts with
    --compatibility."""
    return separator.join((project, service, str(index)))


def oneoff_name(project: str, service: str, slug: str, *, separator: str = "-") -> str:
    """`<project>-<service>-run-<12 hex>`, the name of a container of `run`."""
    return separator.join((project, service, "run", slug[:12]))


def hook_name(container: str, number: int) -> str:
    """`<container>-pre_start-<n>`, the container of a pre_start hook."""
    return f"{container}-pre_start-{number}"


def resource_name(project: str, key: str) -> str:
    """`<project>_<key>`, the default name of a network or volume."""
    return f"{project}_{key}"


def display_name(project: str, name: str, service: str, index: int) -> str:
    """The name in log prefixes: without the project where it is the default name."""
    for separator in "-_":
        if name == container_name(project, service, index, separator=separator):
            return name.removeprefix(f"{project}{separator}")
    return name


def new_id() -> str:
    """64 random hexadecimal digits, the shape of an id in the Docker world."""
    return os.urandom(32).hex()


def short(id_: str) -> str:
    """The first twelve digits of an id."""
    return id_[:12]


def bridge_interface(network: str) -> str:
    """The interface of a network: `pc-` and ten hex digits of its name (IFNAMSIZ is 16)."""
    from hashlib import sha256  # 5 ms: only where a bridge is made or sought

    return "pc-" + sha256(network.encode()).hexdigest()[:10]
