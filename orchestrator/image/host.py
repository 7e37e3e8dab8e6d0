"""The reserved image `pcompose/host`: this machine's programs, and nothing that is private.

The image is one skeleton layer: the symbolic links /bin, /lib … -> usr/…, empty directories, and a
small /etc of which every file is either written here or a world-readable piece of configuration
that programs below /usr cannot start without.  The machine's /usr itself is mounted over the
skeleton's empty /usr by the runtime (`Image.host_usr`).  Never taken: /root, /home, /var, shadow,
private keys, host names.

The layer is remade, as a new image, when something it was copied from has changed.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator

from orchestrator.errors import ImageError
from orchestrator.image import config as configs
from orchestrator.image import digest, reference
from orchestrator.image.config import ConfigFile, ImageConfig, Platform
from orchestrator.image.store import Image, ImageStore

NAME = "pcompose/host"
REVISION = 1
"""Counted up when what is written here changes, so that old skeletons are remade."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DIRECTORIES = (
    "boot", "dev", "etc", "home", "media", "mnt", "opt", "proc", "run", "srv", "sys", "usr",
    "var", "var/cache", "var/lib", "var/log", "var/spool", "var/www", "etc/ssl",
)  # fmt: skip
_MODES = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777, "run/lock": 0o1777}

COPIED = (
    "alternatives", "ca-certificates.conf", "debian_version", "ethertypes", "fonts", "gai.conf",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "magic", "magic.mime", "mime.types", "networks",
    "os-release", "perl", "protocols", "python3", "rpc", "services", "ssl/certs",
    "ssl/openssl.cnf", "terminfo", "timezone",
)  # fmt: skip
"""Below /etc; what is not world-readable is left out even here."""
_INTERPRETERS = ("python3.", "java-", "lua", "ruby")
"""Beginnings of names below /etc of run times whose files in /usr are links into /etc."""
_AS_FILE = ("localtime",)

_USERS = (
    ("root", 0, 0, "root", "/root", "/bin/sh"),
    ("daemon", 1, 1, "daemon", "/usr/sbin", "/usr/sbin/nologin"),
    ("bin", 2, 2, "bin", "/bin", "/usr/sbin/nologin"),
    ("sys", 3, 3, "sys", "/dev", "/usr/sbin/nologin"),
    ("games", 5, 60, "games", "/usr/games", "/usr/sbin/nologin"),
    ("man", 6, 12, "man", "/var/cache/man", "/usr/sbin/nologin"),
    ("mail", 8, 8, "mail", "/var/mail", "/usr/sbin/nologin"),
    ("news", 9, 9, "news", "/var/spool/news", "/usr/sbin/nologin"),
    ("proxy", 13, 13, "proxy", "/bin", "/usr/sbin/nologin"),
    ("www-data", 33, 33, "www-data", "/var/www", "/usr/sbin/nologin"),
    ("backup", 34, 34, "backup", "/var/backups", "/usr/sbin/nologin"),
    ("nobody", 65534, 65534, "nobody", "/nonexistent", "/usr/sbin/nologin"),
)
_GROUPS = (
    ("root", 0), ("daemon", 1), ("bin", 2), ("sys", 3), ("adm", 4), ("tty", 5), ("disk", 6),
    ("mail", 8), ("news", 9), ("man", 12), ("proxy", 13), ("dialout", 20), ("audio", 29),
    ("www-data", 33), ("backup", 34), ("shadow", 42), ("utmp", 43), ("video", 44),
    ("staff", 50), ("games", 60), ("users", 100), ("nogroup", 65534),
)  # fmt: skip


def is_host(text: str) -> bool:
    """Whether a reference means the reserved image."""
    if not text.startswith(("pcompose/", "docker.io/pcompose/")):
        return False
    parsed = reference.parse(text)
    return parsed.repository == NAME and parsed.canonical.endswith(":latest")


def host_image(store: ImageStore, *, root: str = "/") -> Image:
    """The image of the machine whose file system is at `root`, made or remade where needed.

    ImageError on a machine whose /bin is no link into /usr: its programs are not below one
    directory that could be shared.
    """
    links = _links(root)
    mark = _fingerprint(root, links)
    known = store.resolve(NAME)
    if known and known.config.labels.get("pcompose.host") == mark:
        return known
    with store.adding():
        layer = store.add_layer(mark, lambda path: (mark, _build(path, root, links)))
        image = store.add_image(configs.dump(_config_file(mark)), [layer], host_usr=True)
        return store.tag(image.id, NAME)


def _config_file(mark: str) -> ConfigFile:
    machine = os.uname().machine
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
    return ConfigFile(
        platform=Platform(architecture=names.get(machine, machine)),
        created=round(time.time(), 3),
        config=ImageConfig(
            env=(("PATH", PATH),), command=("/bin/sh",), labels={"pcompose.host": mark}
        ),
        diff_ids=(mark,),
    )


def _links(root: str) -> dict[str, str]:
    """Name at the top -> relative target below usr."""
    found = {}
    for name in _LINKS:
        path = os.path.join(root, name)
        if not os.path.lexists(path):
            continue
        target = os.readlink(path).lstrip("/") if os.path.islink(path) else ""
        if not target.startswith("usr/"):
            raise ImageError(
                f"{NAME} is not possible on this machine: /{name} is no link into /usr",
                hint="only systems with a merged /usr can share it; load or build an image instead",
            )
        found[name] = target
    if "bin" not in found:
        raise ImageError(f"{NAME} is not possible on this machine: it has no /bin")
    return found


def _sources(root: str) -> list[tuple[str, str]]:
    """(name below etc, path on the machine) of all that is copied and exists."""
    etc = os.path.join(root, "etc")
    names = list(COPIED)
    names += sorted(n for n in os.listdir(etc) if n.startswith(_INTERPRETERS))
    return [(name, path) for name in names if os.path.exists(path := os.path.join(etc, name))]


def _fingerprint(root: str, links: dict[str, str]) -> str:
    """A digest that changes when a source does: names, sizes and times, not contents; links are
    covered by the time of their directory, since a link is only ever replaced."""
    lines = [f"revision {REVISION}", *(f"{name} {target}" for name, target in links.items())]
    for name, path in _sources(root):
        lines += [f"{name}{line}" for line in _stats(path)]
    for name in _AS_FILE:
        lines += [f"{name}{line}" for line in _stats(os.path.realpath(f"{root}/etc/{name}"))]
    return digest.of_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))


def _stats(path: str) -> Iterator[str]:
    try:
        info = os.stat(path)
    except OSError:
        return
    yield f" {info.st_mode:o} {info.st_size} {info.st_mtime_ns}"
    if stat.S_ISDIR(info.st_mode):
        for entry in sorted(os.scandir(path), key=lambda e: e.name):
            if entry.is_symlink():
                continue
            for line in _stats(entry.path):
                yield f"/{entry.name}{line}"


def _build(target: str, root: str, links: dict[str, str]) -> int:
    """Fill `target` with the skeleton; returns bytes of content."""
    for name in _DIRECTORIES:
        os.makedirs(f"{target}/{name}", mode=0o755, exist_ok=True)
    for name, mode in _MODES.items():
        os.makedirs(f"{target}/{name}", exist_ok=True)
        os.chmod(f"{target}/{name}", mode)
    for name, link in links.items():
        os.symlink(link, f"{target}/{name}")
    os.symlink("/run", f"{target}/var/run")
    os.symlink("/run/lock", f"{target}/var/lock")
    os.symlink("../proc/self/mounts", f"{target}/etc/mtab")
    size = sum(_write(f"{target}/etc/{name}", text) for name, text in _own_files().items())
    for name, path in _sources(root):
        size += _copy(path, f"{target}/etc/{name}")
    for name in _AS_FILE:
        path = os.path.realpath(f"{root}/etc/{name}")
        size += _copy(path, f"{target}/etc/{name}") if os.path.isfile(path) else 0
    return size


def _own_files() -> dict[str, str]:
    users = [f"{n}:x:{u}:{g}:{c}:{home}:{shell}\n" for n, u, g, c, home, shell in _USERS]
    nss = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
    nss += "protocols: files\nservices: files\n"
    return {
        "passwd": "".join(users),
        "group": "".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS),
        "nsswitch.conf": nss,
        "host.conf": "multi on\n",
        "shells": "/bin/sh\n/bin/bash\n/usr/bin/sh\n/usr/bin/bash\n",
        "hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        "resolv.conf": "",
        "hostname": "",
    }


def _write(path: str, text: str) -> int:
    with open(path, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        return file.write(text)


def _copy(source: str, target: str) -> int:
    """Copy what every user of the machine may read; returns bytes."""
    try:
        info = os.lstat(source)
        if stat.S_ISLNK(info.st_mode) and os.path.basename(source) != "os-release":
            return _copy_link(source, target)
        info = os.stat(source)
        if stat.S_ISDIR(info.st_mode) and info.st_mode & 0o005 == 0o005:
            os.makedirs(target, mode=0o755, exist_ok=True)
            names = sorted(os.listdir(source))
            return sum(_copy(f"{source}/{name}", f"{target}/{name}") for name in names)
        if stat.S_ISREG(info.st_mode) and info.st_mode & 0o004:
            import shutil  # 6 ms, only where the skeleton is made

            shutil.copyfile(source, target)
            os.chmod(target, info.st_mode & 0o755)
            return info.st_size
    except FileNotFoundError:
        pass  # removed by the machine's package manager since it was listed
    return 0


def _copy_link(source: str, target: str) -> int:
    os.symlink(os.readlink(source), target)
    return 0
