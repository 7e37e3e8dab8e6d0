"""Dockerfile text -> instructions, by value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.build import checks, mountflag
from orchestrator.build import instructions as kinds
from orchestrator.build.instructions import Instruction
from orchestrator.build.parse import parse
from orchestrator.errors import BuildError
from orchestrator.image.config import ImageConfig


def only(text: str) -> Instruction:
    found = parse(text, file="Dockerfile").instructions
    assert len(found) == 1
    return found[0]


def problems(text: str) -> list[tuple[str, str, str | None]]:
    with pytest.raises(BuildError) as caught:
        parse(text, file="Dockerfile")
    return list(caught.value.problems)


def test_lines_go_on_over_comments_and_empty_lines() -> None:
    made = only("RUN a && \\\n  # comment\n\n  b \\  \n c\n")
    assert isinstance(made, kinds.Run)
    assert made.words == ("a &&   b  c",)


def test_directives_stand_at_the_top_only() -> None:
    found = parse("#syntax=x/y:1\n# escape = `\nRUN a `\n b\\\n", file="D")
    assert (found.directives, found.escape) == ({"syntax": "x/y:1", "escape": "`"}, "`")
    assert found.instructions[0].text == "RUN a  b\\"
    assert parse("# hello\n# escape=`\nRUN a", file="D").escape == "\\"


def test_a_mistake_in_a_joined_line_is_found_in_its_own() -> None:
    [(where, message, hint)] = problems("FROM x\nRUN --network=none \\\n   --securty=x ls\n")
    assert (where, hint) == ("Dockerfile:3:4", "did you mean --security?")
    assert "unknown flag: --securty" in message


def test_all_mistakes_are_told_at_once() -> None:
    found = problems("FROMM a\nCOPY --chwon=1 a b\nHEALTHCHECK CDM x\n")
    assert [(where, hint) for where, _, hint in found] == [
        ("Dockerfile:1:1", "did you mean FROM?"),
        ("Dockerfile:2:6", "did you mean --chown?"),
        ("Dockerfile:3:13", "did you mean CMD?"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RUN", "needs an argument"), ("RUN [1]", "strings only"), ("ENV a", "has no value"),
        ("ENV a=1 b", "not NAME=value"), ("FROM a b", "FROM image"), ("FROM a AS 1x", "name a st"),
        ("COPY a", "a source and a destination"), ("COPY --from=$x a b", "no variables"),
        ("RUN --mount=from=$x,target=/t ls", "no variables"),
        ("RUN --device=vendor.com/gpu=all ls", "no device"),
        ("SHELL bash", "JSON"), ("RUN <<EOF\nx\n", "not ended"), ("ONBUILD FROM x", "trigger"),
        ("ONBUILD RUN --x y", "unknown flag"), ("RUN --network=bridge x", "cannot be `bridge`"),
        ("HEALTHCHECK --interval=5 CMD x", "no duration"), ("VOLUME []", "path"),
        ("COPY --link=x a b", "true or false"), ("COPY --from=a --from=b c d", "twice"),
        ("#escape=x\n", "escape character"), ("#escape=`\n#escape=`\n", "twice"),
        ("RUN --mount=type=cache ls", "needs a target"), ("RUN a\0b", "NUL"),
        ("RUN --mount=type=bind,target=/x,id=3 ls", "has no `id`"),
        ("RUN --mount=type=tmpfs,target=/ ls", "root directory"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(text: str, told: str) -> None:
    assert any(told in message for _, message, _ in problems(text))


def test_here_documents_of_run() -> None:
    made = only("RUN <<EOF cat <<-'X'\na\nEOF\n\tb\n\tX\n")
    assert isinstance(made, kinds.Run)
    first, second = made.heredocs
    assert (first.name, first.text(), first.is_expanded) == ("EOF", "a\n", True)
    assert (second.name, second.text(), second.is_expanded) == ("X", "b\n", False)
    assert made.words == ("<<EOF cat <<-'X'",)


def test_a_shift_is_no_here_document() -> None:
    made = only("RUN echo $((1<<2)) <<<here \"a <<EOF\"")
    assert isinstance(made, kinds.Run)
    assert made.heredocs == ()


def test_here_documents_of_copy_are_sources() -> None:
    made = only("COPY <<one a <<two /d/\n1\none\n2\ntwo\n")
    assert isinstance(made, kinds.Copy)
    assert (made.sources, made.target) == (("a",), "/d/")
    assert [(doc.name, doc.content) for doc in made.inline] == [("one", "1\n"), ("two", "2\n")]


@pytest.mark.parametrize("text", ["COPY [\"x\", \"<<'\"]", "COPY x <<'"])
def test_an_open_quote_makes_no_here_document(text: str) -> None:
    made = only(text)
    assert isinstance(made, kinds.Copy)
    assert (made.sources, made.target, made.inline) == (("x",), "<<'", ())


def test_flags_of_copy() -> None:
    made = only('COPY --from=b --chown=$U:g --chmod=644 --link --exclude=*.o --exclude=x '
                '["a b", "c"]')  # fmt: skip
    assert isinstance(made, kinds.Copy)
    assert (made.origin, made.chown, made.chmod, made.link) == ("b", "$U:g", "644", True)
    assert (made.exclude, made.sources, made.target) == (("*.o", "x"), ("a b",), "c")


def test_the_two_forms_of_a_command() -> None:
    shell, listed, broken = (only(t) for t in ("CMD a  b", 'CMD ["a", "b"]', "CMD [ -f x ]"))
    assert isinstance(shell, kinds.Cmd)
    assert isinstance(listed, kinds.Cmd)
    assert isinstance(broken, kinds.Cmd)
    assert (shell.words, shell.is_shell) == (("a  b",), True)
    assert (listed.words, listed.is_shell) == (("a", "b"), False)
    assert (broken.words, broken.is_shell) == (("[ -f x ]",), True)


def test_pairs() -> None:
    made, old = only("ENV a=1 b='x y' \\\n c=\"$a\""), only("ENV a  x = y")
    assert isinstance(made, kinds.Env)
    assert isinstance(old, kinds.Env)
    assert made.items == (("a", "1"), ("b", "'x y'"), ("c", '"$a"'))
    assert old.items == (("a", "x = y"),)


def test_a_trigger_keeps_its_here_document() -> None:
    made = only("ONBUILD RUN <<E\nx\nE\n")
    assert isinstance(made, kinds.Onbuild)
    assert only(made.trigger) == kinds.Run(
        place=only("RUN x").place, text="RUN <<E", words=("<<E",), is_shell=True,
        heredocs=parse("RUN <<E\nx\nE", file="D").instructions[0].heredocs,  # type: ignore[attr-defined]
    )  # fmt: skip


def mount(text: str, **variables: str) -> mountflag.Mount:
    made = only(f"RUN --mount={text} ls")
    assert isinstance(made, kinds.Run)
    return mountflag.resolve(made.mounts[0], lambda v: v.replace("$V", variables.get("V", "")),
                             cwd="/work")  # fmt: skip


def test_mounts_have_the_defaults_of_buildkit() -> None:
    cache, bind = mount("type=cache,target=c"), mount("target=/s,src=x,from=b")
    secret, tmpfs = mount("type=secret,id=k"), mount('"type=tmpfs","target=/t",size=2m')
    assert (cache.target, cache.id, cache.read_only, cache.mode) == ("/work/c", "/work/c", False,
                                                                     0o755)
    assert (bind.type, bind.source, bind.origin, bind.read_only) == ("bind", "x", "b", True)
    assert (secret.target, secret.mode, secret.required) == ("/run/secrets/k", 0o400, False)
    assert tmpfs.size == 2 << 20
    assert not mount("type=secret,id=k,env=K").has_path()
    assert mount("type=cache,target=/$V", V="q").target == "/q"


FRAGMENTS = st.lists(st.sampled_from([
    "FROM a", "RUN ", "COPY ", "<<E", "E", "\n", "\\\n", "--mount=", "type=cache", ",", "=", '"',
    "'", "[", "]", "$x", "# escape=`\n", "`\n", "ONBUILD ", "HEALTHCHECK ", " ", "--", "\t", "ENV ",
    "target=/x", "\r\n", "-", "\ufeff", "ARG ", "SHELL ", "{", "}", "\\",
]), max_size=25)  # fmt: skip


@given(FRAGMENTS)
def test_any_file_is_read_or_refused_with_a_place(parts: list[str]) -> None:
    text = "".join(parts)
    places: list[str] = []
    try:
        file = parse(text, file="Dockerfile")
        places += [str(made.place) for made in file.instructions]
        around = checks.Around(args={}, automatic={}, image=lambda name: ImageConfig())
        places += [str(one.place) for one in checks.check(file, around)]
    except BuildError as error:
        places += [where for where, _, _ in error.problems]
    lines = [int(place.removeprefix("Dockerfile:").split(":")[0]) for place in places]
    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
