"""`pcompose-oci`: the OCI runtime command line (runtime-spec 1.3, and what engines ask of runc).

Every call is a process of its own; nothing runs between two calls but the containers.  An error is
one line on stderr, and with --log one line there in the form engines read.
"""

from __future__ import annotations

import os
import sys

from orchestrator.linux import jsontext
from orchestrator.runtime.oci import options as grammar
from orchestrator.runtime.oci.faults import OciError, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Log:
    """Where warnings and errors go besides stderr: --log and --log-format."""

    __slots__ = ("_format", "_path")

    def __init__(self, path: str, form: str) -> None:
        if form not in ("", "text", "json"):
            raise OciError(f"--log-format must be text or json, not {form!r}")
        self._path = path
        self._format = form or "text"

    def warn(self, message: str) -> None:
        """To the log; to stderr where there is none."""
        if not self._write("warning", message):
            sys.stderr.write(f"pcompose-oci: warning: {message}\n")

    def error(self, message: str) -> None:
        """To the log and to stderr."""
        self._write("error", message)
        sys.stderr.write(f"pcompose-oci: {message}\n")

    def _write(self, level: str, message: str) -> bool:
        if not self._path:
            return False
        import time

        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._format == "json":
            line = jsontext.encode({"level": level, "msg": message, "time": moment})
        else:
            line = f'time="{moment}" level={level} msg={jsontext.encode(message)}'
        try:
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(self._path, flags, 0o600)
        except OSError:
            return False
        try:
            os.write(fd, f"{line}\n".encode())
        finally:
            os.close(fd)
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 with one line on stderr, or that of a command in the foreground."""
    log = Log("", "")
    try:
        top, options = grammar.parse(sys.argv[1:] if arguments is None else arguments)
        log = Log(top.text("--log"), top.text("--log-format"))
        return _run(top, options, log)
    except OciError as exc:
        log.error(str(exc))
        return exc.code
    except OSError as exc:
        log.error(words_of(exc))
        return 1
    except KeyboardInterrupt:
        return 130


def _run(top: grammar.Options, options: grammar.Options, log: Log) -> int:
    if top.has("--version"):
        from orchestrator import __version__
        from orchestrator.runtime.oci.config import SPECIFICATION

        sys.stdout.write(f"pcompose-oci version {__version__}\nspec: {SPECIFICATION}\n")
        return 0
    if top.has("--help") or options.has("--help") or not options.command:
        text = grammar.usage(options.command)
        (sys.stdout if top.has("--help") or options.command else sys.stderr).write(text)
        return 0 if top.has("--help") or options.command else 1
    from orchestrator.runtime.oci import commands

    return commands.run(
        options, root=top.text("--root"), by_systemd=top.has("--systemd-cgroup"), warn=log.warn)


def command_line() -> None:
    """The program: `main` without the interpreter's tidying up, which takes 3 ms and frees what the
    end of the process frees anyway."""
    import gc

    gc.disable()
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads
        code = code or 1
    os._exit(code)


if __name__ == "__main__":
    command_line()
