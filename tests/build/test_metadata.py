"""Instructions that change an image's configuration, alone as `import --change` has them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.build import metadata
from orchestrator.errors import ImageError
from orchestrator.image.config import Healthcheck, ImageConfig


@pytest.mark.parametrize(("text", "field", "value"), [
    ('CMD ["a", "b c"]', "command", ("a", "b c")),
    ("CMD run it", "command", ("/bin/sh", "-c", "run it")),
    ("CMD [ -e /x ]", "command", ("/bin/sh", "-c", "[ -e /x ]")),
    ("CMD []", "command", ()),
    ("cmd x", "command", ("/bin/sh", "-c", "x")),
    ('ENTRYPOINT ["/e"]', "entrypoint", ("/e",)),
    ("ENV A=1 B='x y' C=\"p q\" D=r\\ s", "env",
     (("A", "1"), ("B", "x y"), ("C", "p q"), ("D", "r s"))),
    ("ENV A the whole rest", "env", (("A", "the whole rest"),)),
    ("ENV A=", "env", (("A", ""),)),
    ("WORKDIR /srv//x/../y", "working_dir", "/srv/y"),
    ("WORKDIR x", "working_dir", "/x"),
    ("USER www-data:www-data", "user", "www-data:www-data"),
    ("EXPOSE 80 443/UDP 8000-8002", "exposed_ports",
     ("80/tcp", "443/udp", "8000/tcp", "8001/tcp", "8002/tcp")),
    ('VOLUME ["/a", "/b"]', "volumes", ("/a", "/b")),
    ("VOLUME /a /b", "volumes", ("/a", "/b")),
    ('LABEL a=1 "b c"="d e"', "labels", {"a": "1", "b c": "d e"}),
    ("STOPSIGNAL SIGQUIT", "stop_signal", "SIGQUIT"),
    ("STOPSIGNAL 9", "stop_signal", "9"),
    ("HEALTHCHECK NONE", "healthcheck", Healthcheck(test=("NONE",))),
    ("HEALTHCHECK CMD curl -f x", "healthcheck", Healthcheck(test=("CMD-SHELL", "curl -f x"))),
    ('HEALTHCHECK --interval=1m30s --timeout=500ms --retries=2 --start-period=5s '
     '--start-interval=1s CMD ["a"]', "healthcheck",
     Healthcheck(test=("CMD", "a"), interval=90, timeout=0.5, retries=2, start_period=5,
                 start_interval=1)),
])  # fmt: skip
def test_an_instruction_changes_one_thing(text: str, field: str, value: Any) -> None:
    assert getattr(metadata.apply_texts(ImageConfig(), [text]), field) == value


def test_variables_of_earlier_instructions_are_put_in() -> None:
    found = metadata.apply_texts(ImageConfig(), [
        "ENV PATH=/bin HOME=/h", "ENV PATH=/x:$PATH Q='$PATH' E=\\$PATH D=${NO:-d}${PATH:+p}",
        "WORKDIR $HOME/w", "WORKDIR deeper", "USER ${NO:-app}", "CMD echo $PATH",
    ])  # fmt: skip
    assert dict(found.env) == {
        "PATH": "/x:/bin",
        "HOME": "/h",
        "Q": "$PATH",
        "E": "$PATH",
        "D": "dp",
    }
    assert (found.working_dir, found.user) == ("/h/w/deeper", "app")
    assert found.command[-1] == "echo $PATH"


@pytest.mark.parametrize("text", [
    "", "FROM x", "RUN x", "ENV", "ENV A", "ENV A=1 B", "ENV A='x", "USER", "WORKDIR ", "EXPOSE x",
    "EXPOSE 0", "EXPOSE 90-80", "EXPOSE 70000", "VOLUME a", "VOLUME", "STOPSIGNAL SIGNOPE",
    "STOPSIGNAL 99", "HEALTHCHECK", "HEALTHCHECK CMD", "HEALTHCHECK --what=1 CMD x",
    "HEALTHCHECK --interval=x CMD x", "HEALTHCHECK --retries=-1 CMD x", "LABEL =x",
])  # fmt: skip
def test_what_is_no_instruction_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(ImageError, match="--change: `"):
        metadata.apply_texts(ImageConfig(), [text])
