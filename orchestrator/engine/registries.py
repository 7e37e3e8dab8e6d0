"""The registries of this user: how they are asked, who one is to them, what they offer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.dataclass import dataclass
from orchestrator.errors import RegistryError
from orchestrator.events import Sink, ignore
from orchestrator.image.reference import DEFAULT_DOMAIN
from orchestrator.image.registry import hosts
from orchestrator.image.registry.client import Found, Registry, Session
from orchestrator.image.registry.credentials import CredentialFile, Credentials, host_of
from orchestrator.image.registry.transport import Transport

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Choice
    from orchestrator.image.registry.hosts import Hosts
    from orchestrator.image.store import ImageStore


def open_session(
    environ: Mapping[str, str] | None = None, *, insecure: Iterable[str] = ()
) -> Session:
    """Connections to registries, as this machine and user are set up."""
    found = os.environ if environ is None else environ
    known: Hosts = hosts.read(found, insecure=insecure)
    transport = Transport(environ=found, tls=known.tls, agent=f"pcompose/{__version__}")
    return Session(transport, known, CredentialFile(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """Where a password is kept now."""

    host: str
    user: str
    place: str
    """The helper, or the file."""
    is_readable: bool
    """Whether who can read the file has the password."""


class Registries:
    """What a person does with registries; `host` is empty for Docker Hub."""

    def __init__(self, *, insecure: Iterable[str] = ()) -> None:
        self._insecure = tuple(insecure)

    def stored_user(self, host: str = "") -> str | None:
        """The name under which one has logged in before; None: never."""
        found = CredentialFile(os.environ).find(host_of(host or DEFAULT_DOMAIN))
        return None if found is None else found.user or "<token>"

    def log_in(
        self, host: str = "", user: str | None = None, password: str | None = None
    ) -> LoggedIn:
        """Ask the registry whether it takes them, and keep them where docker keeps them.  Without
        name and password those that are kept are tried."""
        host = host_of(host or DEFAULT_DOMAIN)
        with open_session(insecure=self._insecure) as session:
            known = session.credentials.find(host)
            if user is not None and password is not None:
                known = Credentials(user=user, password=password)
            if known is None:
                raise RegistryError(f"nothing is known of who you are to {host}",
                                    hint="give --username and --password-stdin")  # fmt: skip
            endpoint = session.hosts.origin(host)
            Registry(session, endpoint, find=lambda: known).check()
            if user is not None:
                session.credentials.save(host, known)
            helper = session.credentials.helper(host)
            return LoggedIn(host=host, user=known.user, is_readable=not helper,
                            place=helper or session.credentials.path)  # fmt: skip

    def search(self, term: str, *, most: int) -> list[Found]:
        """Images for a word, `REGISTRY/word` for another registry than Docker Hub."""
        first, slash, rest = term.partition("/")
        is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
        host, word = (first, rest) if is_host else (DEFAULT_DOMAIN, term)
        with open_session(insecure=self._insecure) as session:
            return session.registry(session.hosts.origin(host)).search(word, most=most)

    def pull(self, names: Sequence[str], *, platform: str = "", sink: Sink = ignore) -> None:
        """Bring images in, fresh; `platform` as `linux/arm64`, empty: this machine's."""
        from orchestrator.engine import pulling

        pulling.pull_names(*self._store(), names, platform=platform, sink=sink)

    def push(self, names: Sequence[str], *, sink: Sink = ignore) -> None:
        """Send images of the store to where their names say."""
        from orchestrator.engine import pushing

        pushing.push_names(*self._store(), dict.fromkeys(names, ("", "")), sink=sink)

    def _store(self) -> tuple[Choice, ImageStore]:
        from orchestrator.engine.images import open_store
        from orchestrator.engine.workspace import Choice
        from orchestrator.state.layout import Layout

        choice = Choice(insecure_registries=self._insecure)
        return choice, open_store(Layout.from_environment())

    def log_out(self, host: str = "") -> tuple[str, bool]:
        """Forget who one is to a registry; (its name, whether anything was known)."""
        host = host_of(host or DEFAULT_DOMAIN)
        return host, CredentialFile(os.environ).erase(host)
