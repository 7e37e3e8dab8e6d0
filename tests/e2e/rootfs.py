"""Programs of this machine with the shared libraries they need, as members of a tar."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tarfile


def libraries(program: str) -> set[str]:
    """Absolute paths of the shared libraries of a program, the loader included (ldd(1))."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return set(re.findall(r"(/\S+\.so\S*)", done.stdout))


def add_program(tar: tarfile.TarFile, name: str) -> None:
    """Put a program at /bin/NAME and its libraries where they are on this machine."""
    path = shutil.which(name)
    assert path is not None
    present = set(tar.getnames())
    for source, target in {f"/bin/{name}": path, **{p: p for p in libraries(path)}}.items():
        member = source.lstrip("/")
        if member not in present:
            info = tar.gettarinfo(os.path.realpath(target), member)
            info.uid = info.gid = 0
            with open(os.path.realpath(target), "rb") as file:
                tar.addfile(info, file)
