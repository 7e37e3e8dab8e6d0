"""Image references: `[domain/]path[:tag][@digest]`, parsed, completed and made short again.

Owns the grammar (that of the distribution project's reference package: lower-case path components,
`docker.io/library/` where the name is short) and nothing else: whether an image of that name
exists is the store's affair.
"""

from __future__ import annotations

import re

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import ImageError

DEFAULT_DOMAIN = "docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
LONGEST_NAME = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_PATH = re.compile(r"{0}(?:/{0})*".format(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"))
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_HEX = re.compile(r"[0-9a-f]{1,64}")
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A complete name; `tag` and `digest` are empty where they were not given."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """`docker.io/library/redis`."""
        return f"{self.domain}/{self.path}"

    @property
    def repository(self) -> str:
        """The short name without tag: `redis`, `ghcr.io/a/b`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(OFFICIAL)
        if "/" not in short:
            return short
        # `docker.io/a.b/c` must stay long: without it a.b would be the domain
        return self.name if _is_domain(self.path.partition("/")[0]) else self.path

    @property
    def canonical(self) -> str:
        """The key an image is stored under: with tag, or with digest where one is given."""
        if self.digest:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.tag or DEFAULT_TAG}"

    @property
    def complete(self) -> str:
        """All of it, nothing short: `docker.io/library/redis:7@sha256:…`."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}@{self.digest}" if self.digest else f"{self.name}{tag}"

    @property
    def familiar(self) -> str:
        """What a person reads: `redis:7`, `redis@sha256:…`."""
        return self.repository + self.canonical[len(self.name):]

    def tagged(self) -> Reference:
        """The same with `latest` where neither tag nor digest is given."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)


def parse(text: str) -> Reference:
    """The reference `text` names; ImageError where it is none."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(text, "a digest is sha256: and 64 or sha512: and 128 lower-case "
                       "hexadecimal digits")  # fmt: skip
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _invalid(text, "a tag is letters, digits, `_`, `.` and `-`, at most 128")
    domain, path = _split_domain(f"{head}{slash}{last}")
    reference = Reference(domain=domain, path=path, tag=tag, digest=digest)
    _check_name(text, reference)
    return reference


def _is_domain(first: str) -> bool:
    """Whether a first component is meant as one: a dot, a port, localhost, or upper case (which no
    path may have)."""
    return "." in first or ":" in first or first == "localhost" or first.lower() != first


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    domain, path = (first, rest) if slash and _is_domain(first) else (DEFAULT_DOMAIN, name)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = OFFICIAL + path
    return domain, path


def _check_name(text: str, reference: Reference) -> None:
    if not _PATH.fullmatch(reference.path):
        hint = "repository names are lower case" if reference.path.lower() != reference.path else ""
        raise _invalid(text, hint or "expected [domain/]name[:tag][@digest]")
    if not _DOMAIN.fullmatch(reference.domain):
        raise _invalid(text, f"`{reference.domain}` is no domain name")
    if len(reference.name) > LONGEST_NAME:
        raise _invalid(text[:40] + "…", f"a name has at most {LONGEST_NAME} characters")
    if _ID.fullmatch(reference.path.removeprefix(OFFICIAL)):
        raise _invalid(text, "64 hexadecimal digits are an image id, not a name")


def _invalid(text: str, hint: str) -> ImageError:
    return ImageError(f"invalid reference format: `{text}`", hint=hint)


def image_id(text: str) -> str | None:
    """`sha256:…` if `text` is a whole image id, with or without the algorithm; else None."""
    found = _ID.fullmatch(text)
    return f"sha256:{found[1]}" if found else None


def id_prefix(text: str) -> str | None:
    """The hexadecimal digits if `text` may be the beginning of an image id; else None."""
    digits = text.removeprefix("sha256:")
    return digits if _HEX.fullmatch(digits) else None
