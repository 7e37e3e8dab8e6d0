"""Image references: grammar, completion, short forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ImageError
from orchestrator.image import reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(("text", "canonical", "familiar"), [
    ("redis", "docker.io/library/redis:latest", "redis:latest"),
    ("redis:7", "docker.io/library/redis:7", "redis:7"),
    ("library/redis:7", "docker.io/library/redis:7", "redis:7"),
    ("docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
    ("index.docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
    ("a/b", "docker.io/a/b:latest", "a/b:latest"),
    ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("ghcr.io/a/b-c__d.e:v1.0", "ghcr.io/a/b-c__d.e:v1.0", "ghcr.io/a/b-c__d.e:v1.0"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
    ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
    (f"redis:7@{DIGEST}", f"docker.io/library/redis@{DIGEST}", f"redis@{DIGEST}"),
    ("Host/x", "Host/x:latest", "Host/x:latest"),
])  # fmt: skip
def test_a_reference_is_completed_and_made_short(text: str, canonical: str, familiar: str) -> None:
    parsed = reference.parse(text)
    assert (parsed.canonical, parsed.familiar) == (canonical, familiar)


@pytest.mark.parametrize("text", [
    "", ":7", "redis:", "redis:a b", "Redis", "a//b", "/a", "a/", "a..b", "-a", "a-", "a_", "a___b",
    "redis@", "redis@sha256:abc", f"redis@{DIGEST.upper()}", "redis:" + "x" * 129, "x" * 256, "a\n",
    "redis:7\n", "a b", "ünï", "http://a/b", "a:b:c", "0123456789abcdef" * 4, "exa_mple.com/x",
    "re\0dis", "../x", "a/../b",
])  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ImageError):
        reference.parse(text)


def test_upper_case_gets_a_hint() -> None:
    with pytest.raises(ImageError) as caught:
        reference.parse("Redis:7")
    assert caught.value.hint == "repository names are lower case"


component = st.from_regex(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", fullmatch=True)
domain = st.sampled_from(["", "docker.io/", "ghcr.io/", "localhost:5000/", "a.b-c.d/", "[::1]:1/"])
tag = st.just("") | st.from_regex(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(domain, st.lists(component, min_size=1, max_size=3).map("/".join), tag)
def test_both_forms_mean_the_same_reference(where: str, path: str, tagged: str) -> None:
    try:
        parsed = reference.parse(where + path + tagged)
    except ImageError:
        looks_like_a_domain = not where and "." in path.partition("/")[0]
        assert looks_like_a_domain or len(path) > 200 or len(path.rpartition("/")[2]) >= 64
        return
    assert reference.parse(parsed.familiar).canonical == parsed.canonical
    assert reference.parse(parsed.canonical).canonical == parsed.canonical


@given(st.text(max_size=300))
def test_any_text_is_a_reference_or_an_image_error(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except ImageError:
        return
    assert "/../" not in f"/{parsed.name}/"


def test_ids_are_told_from_names() -> None:
    assert reference.image_id("0123456789abcdef" * 4) == DIGEST
    assert reference.image_id("0123") is None
    assert reference.id_prefix("sha256:01") == "01"
    assert reference.id_prefix("xyz") is None
