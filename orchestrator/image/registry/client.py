"""The distribution API, as one registry offers it: manifests, blobs, uploads, names.

Owns the paths, statuses and error documents of the OCI distribution specification (1.1), which
the registry protocol of Docker is.  Verifies manifests; what blobs contain is for who reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode, urljoin, urlsplit

from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError, ImageNotFoundError, RegistryError
from orchestrator.image import digest, document
from orchestrator.image.manifest import ACCEPTED, OCI_MANIFEST
from orchestrator.image.reference import Reference
from orchestrator.image.registry.auth import Authorizer, Form
from orchestrator.image.registry.credentials import CredentialFile, Credentials
from orchestrator.image.registry.hosts import HUB, Endpoint, Hosts
from orchestrator.image.registry.transport import Body, Request, Response, Transport

_LARGEST_ERROR = 64 << 10
_LARGEST_LIST = 16 << 20
_MOST_PAGES = 1000
_MOST_NAMES = 100_000
HUB_SEARCH = "https://index.docker.io/v1/search"
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A manifest or an index as it came, and its digest."""

    data: bytes
    media_type: str
    """Of the answer."""
    digest: str

    @property
    def stated_type(self) -> str:
        """The media type that it states itself, or else that of the answer."""
        stated = document.parse(self.data, what=self.digest).get("mediaType").text("")
        return stated or self.media_type or OCI_MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image that a search has found."""

    name: str
    description: str = ""
    stars: int = 0
    is_official: bool = False


class Session:
    """Everything that requests of one command share; a context manager."""

    def __init__(self, transport: Transport, hosts: Hosts, credentials: CredentialFile) -> None:
        self.transport, self.hosts, self.credentials = transport, hosts, credentials
        self._registries: dict[Endpoint, Registry] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.transport.close()

    def registry(self, endpoint: Endpoint) -> Registry:
        """The registry behind an endpoint; the same one again for the same endpoint."""
        found = self._registries.get(endpoint)
        if found is None:
            found = self._registries.setdefault(endpoint, Registry(self, endpoint))
        return found


    def repository(self, reference: Reference, *, is_pushed: bool = False) -> Repository:
        """Where an image comes from, and is pushed to; mirrors are left out."""
        registry = self.registry(self.hosts.origin(reference.domain))
        return Repository(registry, reference.path, is_pushed=is_pushed)


class Registry:
    """One server; `find` gives other credentials than those that are stored."""

    def __init__(
        self, session: Session, endpoint: Endpoint, *,
        find: Callable[[], Credentials | None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._session, self._transport = session, session.transport
        self._find = find or (lambda: session.credentials.find(endpoint.host))
        self._url = endpoint.url if endpoint.scheme else ""
        self._authorizer = self._new_authorizer() if self._url else None

    @property
    def host(self) -> str:
        """As people call it."""
        return "docker.io" if self.endpoint.host == HUB else self.endpoint.host

    def _new_authorizer(self) -> Authorizer:
        return Authorizer(self._transport, host=self.host, find=self._find,
                          is_secure=self._url.startswith("https:"))  # fmt: skip

    def _base(self) -> str:
        """`https://host`; where both are allowed, http only if https is not spoken."""
        if not self._url:
            secure = f"https://{self.endpoint.host}"
            request = Request(method="GET", url=f"{secure}/v2/", is_repeatable=False)
            try:
                self._transport.send(request).close()
                self._url = secure
            except RegistryError:
                self._url = f"http://{self.endpoint.host}"
        if self._authorizer is None:
            self._authorizer = self._new_authorizer()
        return self._url

    def send(
        self, method: str, path: str, *, scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None, body: Body | None = None,
        is_repeatable: bool = True,
    ) -> Response:
        """The answer to a request for a path, or for a whole address that the registry gave,
        whatever its status; credentials go to the registry itself only."""
        base = self._base()
        url = path if "://" in path else base + path
        assert self._authorizer is not None
        is_own = urlsplit(url)[:2] == urlsplit(base)[:2]
        sent: Mapping[str, str] = self._authorizer.headers(scopes) if is_own else {}
        for is_last in (False, True):
            response = self._transport.send(Request(
                method=method, url=url, headers=headers or {}, private=sent, body=body,
                is_repeatable=is_repeatable,
            ))  # fmt: skip
            if response.status != 401 or is_last or not is_own:
                return response
            with response:
                if not self._authorizer.learn(response, scopes, sent=bool(sent)):
                    return response
            sent = self._authorizer.headers(scopes)
        return response

    def check(self) -> None:
        """That a registry is there and takes our credentials.  RegistryError otherwise."""
        with self.send("GET", "/v2/") as response:
            if response.status != 200:
                raise self.refusal(response, "cannot log in")

    def refusal(self, response: Response, what: str) -> ImageError:
        """The error that an answer is; reads its body."""
        return refusal(response, what, host=self.host)

    def search(self, term: str, *, most: int) -> list[Found]:
        """What the registry finds for a word.  Docker Hub searches itself; others are only asked
        for all their names."""
        if self.endpoint.host != HUB:
            return [Found(name=f"{self.host}/{name}") for name in self.names(most=_MOST_NAMES)
                    if term.lower() in name][:most]  # fmt: skip
        query = urlencode({"q": term, "n": most})
        request = Request(method="GET", url=f"{HUB_SEARCH}?{query}")
        with self._transport.send(request) as response:
            if response.status != 200:
                raise self.refusal(response, f"{self.host} does not search")
            root = document.parse(response.document(largest=_LARGEST_LIST),
                                  what=f"the answer of {self.host}", largest=_LARGEST_LIST)
        return [
            Found(name=item.get("name").text(), description=item.get("description").text(""),
                  stars=item.get("star_count").number(0),
                  is_official=item.get("is_official").value is True)
            for item in root.get("results").items()
        ]  # fmt: skip

    def names(self, *, most: int) -> list[str]:
        """Repositories that the registry lists (`_catalog`)."""
        found: list[str] = []
        path = f"/v2/_catalog?n={min(most, 1000)}"
        for _ in range(_MOST_PAGES):
            with self.send("GET", path, scopes=("registry:catalog:*",)) as response:
                if response.status != 200:
                    raise self.refusal(response, f"{self.host} does not list its images")
                root = document.parse(response.document(largest=_LARGEST_LIST),
                                      what=f"the answer of {self.host}", largest=_LARGEST_LIST)
                found += root.get("repositories").texts()
                link = _NEXT.search(response.header("Link"))
            if not link or len(found) >= most:
                break
            path = urlsplit(_joined(response, link[1]))._replace(scheme="", netloc="").geturl()
        return found[:most]


class Repository:
    """The images of one name in one registry."""

    def __init__(self, registry: Registry, path: str, *, is_pushed: bool = False) -> None:
        self.registry, self.path = registry, path
        actions = "pull,push" if is_pushed else "pull"
        self._scopes = (f"repository:{path}:{actions}",)
        self._root = f"/v2/{quote(path)}"

    @property
    def name(self) -> str:
        return f"{self.registry.host}/{self.path}"

    # ---- manifests ----

    def manifest(self, tag_or_digest: str) -> Document:
        """The manifest of a tag or digest, verified.  ImageNotFoundError where there is none."""
        with self._get_manifest("GET", tag_or_digest) as response:
            if response.status != 200:
                raise self.registry.refusal(response, f"{self.name} has no {tag_or_digest}")
            data = response.document(largest=document.LARGEST)
            media_type = response.header("Content-Type").partition(";")[0].strip().lower()
            stated = response.header("Docker-Content-Digest")
        wanted = tag_or_digest if digest.is_digest(tag_or_digest) else stated
        found = digest.of_bytes(data)
        if digest.is_digest(wanted):
            found = digest.of_bytes(data, algorithm=digest.algorithm(wanted))
            if found != wanted:
                raise RegistryError(
                    f"{self.registry.host} sent another manifest for {tag_or_digest} than it "
                    f"states: expected {wanted}, found {found}")
        return Document(data=data, media_type=media_type, digest=found)

    def manifest_digest(self, tag_or_digest: str) -> str:
        """What a tag stands for now; empty where the registry does not say, or has none."""
        with self._get_manifest("HEAD", tag_or_digest) as response:
            stated = response.header("Docker-Content-Digest")
            return stated if response.status == 200 and digest.is_digest(stated) else ""

    def current_digest(self, tag: str) -> str:
        """The same, if need be of the manifest itself.  ImageNotFoundError and RegistryError."""
        return self.manifest_digest(tag) or self.manifest(tag).digest

    def _get_manifest(self, method: str, tag_or_digest: str) -> Response:
        return self.registry.send(method, f"{self._root}/manifests/{tag_or_digest}",
                                  scopes=self._scopes, headers={"Accept": ", ".join(ACCEPTED)})

    def put_manifest(self, tag_or_digest: str, found: Document) -> None:
        """Store a manifest; what the registry makes of it is compared."""
        with self.registry.send(
            "PUT", f"{self._root}/manifests/{tag_or_digest}", scopes=self._scopes,
            headers={"Content-Type": found.media_type}, body=Form(found.data),
        ) as response:  # fmt: skip
            if response.status not in (200, 201, 202):
                raise self.registry.refusal(response, f"cannot push to {self.name}")
            stated = response.header("Docker-Content-Digest")
        if stated.startswith("sha256:") and stated != digest.of_bytes(found.data):
            raise RegistryError(f"{self.registry.host} stored another manifest than was sent: "
                                f"{stated}, not {found.digest}")  # fmt: skip

    # ---- blobs ----

    def blob(self, blob: str, *, offset: int = 0) -> Response:
        """The content of a blob, from `offset` on where the registry can (206)."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self.registry.send("GET", f"{self._root}/blobs/{blob}", scopes=self._scopes,
                                      headers={"Accept-Encoding": "identity", **headers})
        if response.status not in (200, 206):
            with response:
                raise self.registry.refusal(response, f"{self.name} does not give {blob}")
        return response

    def has_blob(self, blob: str) -> bool:
        """Whether it need not be uploaded."""
        with self.registry.send("HEAD", f"{self._root}/blobs/{blob}",
                                scopes=self._scopes) as response:  # fmt: skip
            return response.status == 200

    def read_blob(self, blob: str, *, size: int) -> bytes:
        """A small blob, verified."""
        if size > document.LARGEST:
            raise RegistryError(f"{blob} is said to have {size} bytes, too many for what it is")
        with self.blob(blob) as response:
            data = response.document(largest=document.LARGEST)
        found = digest.of_bytes(data, algorithm=digest.algorithm(blob))
        if found != blob or len(data) != size:
            raise RegistryError(f"{self.registry.host} sent something else for {blob}: {found}, "
                                f"{len(data)} bytes")  # fmt: skip
        return data

    # ---- uploads ----

    def begin_upload(self, *, mount: str = "", source: str = "") -> str:
        """Where to send a blob to; empty: it was mounted from the repository `source`."""
        scopes: tuple[str, ...] = self._scopes
        path = f"{self._root}/blobs/uploads/"
        if mount:
            scopes = (*scopes, f"repository:{source}:pull")
            path += "?" + urlencode({"mount": mount, "from": source})
        with self.registry.send("POST", path, scopes=scopes) as response:
            if mount and response.status == 201:
                return ""
            if response.status != 202:
                raise self.registry.refusal(response, f"cannot push to {self.name}")
            return self._place(response)

    def send_piece(self, place: str, body: Body, *, start: int) -> tuple[str, int] | None:
        """Send what follows `start`; (where the rest goes, what the registry has).  None, and
        UnansweredError: it may not have got all, ask `uploaded`."""
        headers = {"Content-Type": "application/octet-stream"}
        if start:
            headers["Content-Range"] = f"{start}-{start + body.size - 1}"
        with self.registry.send("PATCH", place, scopes=self._scopes, headers=headers,
                                body=body, is_repeatable=False) as response:  # fmt: skip
            if response.status == 416 or response.status >= 500 or response.status == 429:
                return None
            if response.status not in (201, 202, 204):
                raise self.registry.refusal(response, f"cannot push to {self.name}")
            return self._place(response), _end(response, default=start + body.size)

    def uploaded(self, place: str) -> tuple[str, int] | None:
        """(where the rest goes, bytes that the registry has); None: it has forgotten."""
        with self.registry.send("GET", place, scopes=self._scopes) as response:
            if response.status != 204:
                return None
            return self._place(response, default=place), _end(response, default=0)

    def end_upload(self, place: str, blob: str) -> None:
        """Give the blob that was sent its digest."""
        joint = "&" if urlsplit(place).query else "?"
        url = f"{place}{joint}{urlencode({'digest': blob})}"
        with self.registry.send("PUT", url, scopes=self._scopes) as response:
            if response.status not in (201, 202, 204):
                raise self.registry.refusal(response, f"cannot push to {self.name}")

    def _place(self, response: Response, *, default: str = "") -> str:
        place = response.header("Location")
        if not place and not default:
            raise RegistryError(f"{self.registry.host} does not say where to upload to")
        return _joined(response, place) if place else default


def _joined(response: Response, place: str) -> str:
    try:
        found = urljoin(response.url, place)
        urlsplit(found)
    except ValueError as exc:
        raise RegistryError(f"{response.host} names no address: {place[:200]!r}") from exc
    return found


def _end(response: Response, *, default: int) -> int:
    """Bytes that an upload has, as its Range header says: `0-N`, N being the last one."""
    found = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", response.header("Range").strip(), re.ASCII)
    if not found:
        return default
    last = int(found[1])
    return last + 1 if last else 0


def refusal(response: Response, what: str, *, host: str) -> ImageError:
    """The error that an answer is."""
    code, said = _said(response)
    text = f"{host} answered {response.status} {response.reason}" + (f": {said}" if said else "")
    if response.status == 404:
        return ImageNotFoundError(f"{what} ({text})")
    if response.status in (401, 403) or code == "DENIED":
        return RegistryError(f"{what}: {text}", hint="it may not exist, or need other credentials: "
                             f"pcompose login {host}")  # fmt: skip
    if response.status == 429:
        wait = response.header("Retry-After")
        return RegistryError(f"{what}: {text}", hint="too much was asked for; try again "
                             + (f"in {wait} s" if wait.isdecimal() else "later")
                             + ", or log in: who is known may ask more")  # fmt: skip
    if response.status >= 500:
        return RegistryError(f"{what}: {text}", hint="the registry has a fault; try again later")
    return RegistryError(f"{what}: {text}")


def _said(response: Response) -> tuple[str, str]:
    """(code, message) of an error document; empty where there is none."""
    try:
        root = document.parse(response.document(largest=_LARGEST_ERROR), what="errors")
        for item in root.get("errors").items():
            code, message = item.get("code").text(""), item.get("message").text("")
            return code, " ".join(f"{code.lower()}: {message}".split())[:300]
    except (ImageError, OSError):
        pass
    return "", ""
