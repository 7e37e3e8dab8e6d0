"""Resource limits by their numbers, setrlimit(2); Python's `resource` does not name all of them."""

from __future__ import annotations

NAMES = ("cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as",
         "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime")  # fmt: skip
"""asm-generic/resource.h, in the kernel's order and without RLIMIT_."""
