"""Whole builds on a small base image, with real containers and mounts."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from orchestrator.build import fetch
from orchestrator.engine.buildrun import BuildRunner
from orchestrator.errors import BuildError
from orchestrator.image import host
from orchestrator.image.config import parse
from orchestrator.image.store import Image, ImageStore
from tests.build.ground import Ground

pytestmark = pytest.mark.kernel


def names(store: ImageStore, image: Image, number: int = -1) -> list[str]:
    """Members of a layer's tar, the last one's unless a number says another."""
    diff_id = parse(store.read_blob(image.id)).diff_ids[number]
    data = b"".join(store.read_layer(diff_id))
    return sorted(tarfile.open(fileobj=io.BytesIO(data)).getnames())


# ---- the cache ----


def test_what_has_not_changed_is_not_made_again(ground: Ground) -> None:
    ground.write({"a": "1", "b": "2"})
    text = "FROM base\nCOPY a /a\nRUN cat /a > /a2\nCOPY b /b\n"
    first = ground.build(text)
    assert [status for _, status in ground.statuses()] == ["Done"] * 3
    os.utime(ground.context / "a", (1, 1))
    assert ground.build(text).id == first.id
    assert [status for _, status in ground.statuses()] == ["Cached"] * 3
    ground.write({"b": "3"})
    assert ground.read(ground.build(text), "/b") == "3"
    assert [status for _, status in ground.statuses()] == ["Cached", "Cached", "Done"]


def test_a_miss_says_what_was_different(ground: Ground) -> None:
    ground.write({"a": "1", "d/b": "2"})
    text = "FROM base\nARG V=1\nCOPY . /x\nRUN echo $V\n"
    ground.build(text, slot="why")
    ground.write({"a": "2"})
    (ground.context / "d/b").unlink()
    ground.build(text, slot="why")
    assert ground.why() == ["file a has changed, file d/b is gone", "a step before it was built "
                            "anew"]
    ground.build(text, slot="why", args={"V": "2"})
    assert ground.why() == ["V has another value"]
    ground.build(text.replace("echo", "echo 2"), slot="why", args={"V": "2"})
    assert ground.why() == ["the instruction is another"]


def test_equal_steps_of_other_projects_are_shared(ground: Ground, tmp_path: Path) -> None:
    ground.write({"f": "same"})
    ground.build("FROM base\nCOPY f /f\nRUN echo shared\n", slot="one")
    ground.context = tmp_path / "other"
    ground.context.mkdir()
    ground.write({"f": "same"})
    ground.build("FROM base\nCOPY f /f\nRUN echo shared\n", slot="two")
    assert {status for _, status in ground.statuses()} == {"Cached"}


def test_a_stage_built_anew_with_the_same_result_costs_nothing_more(ground: Ground) -> None:
    text = "FROM base AS b\nRUN echo {} > /noise; echo x > /out\nFROM base\nCOPY --from=b /out /\n"
    first = ground.build(text.format(1))
    second = ground.build(text.format(2))
    assert ground.statuses()[-1] == ("COPY --from=b /out /", "Cached")
    assert first.id == second.id


def test_no_cache_makes_everything_again(ground: Ground) -> None:
    text = "FROM base AS a\nRUN echo a\nFROM base AS b\nCOPY --from=a /etc/group /g\n"
    ground.build(text)
    ground.build(text, no_cache_filter=("A",))
    assert [status for _, status in ground.statuses()] == ["Done", "Cached"]
    ground.build(text, no_cache=True)
    assert [status for _, status in ground.statuses()] == ["Done", "Done"]


def test_two_stores_make_the_same_image_with_a_date(tmp_path: Path, runner: BuildRunner) -> None:
    ids = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        ground = Ground(directory, runner)
        ground.add_base()
        ground.write({"f": name})
        (ground.context / "f").write_text("same")
        base = json.loads(ground.store.read_blob(ground.find("base").id))["rootfs"]["diff_ids"]
        made = ground.build("FROM base\nCOPY f /f\nWORKDIR /new/dir\nRUN echo x > made; mkdir d\n",
                            date=1_600_000_000)  # fmt: skip
        config = json.loads(ground.store.read_blob(made.id))
        assert config["rootfs"]["diff_ids"][:1] == base
        ids.append(made.id)
    assert ids[0] == ids[1]


# ---- files ----


def test_deleted_files_are_whiteouts_and_the_tar_is_made_again(ground: Ground) -> None:
    image = ground.build("FROM base\nRUN mkdir /d && touch /d/x /d/y\n"
                         "RUN rm /d/x; rm -r /srv; mkdir /srv; touch /srv/n; ln /d/y /d/z\n")
    assert names(ground.store, image) == [
        "d", "d/.wh.x", "d/y", "d/z", "srv", "srv/.wh..wh..opq", "srv/n"]  # fmt: skip


def test_run_leaves_nothing_of_its_own_in_the_layer(ground: Ground) -> None:
    image = ground.build("FROM base\nRUN --mount=type=tmpfs,target=/t --mount=type=cache,target=/c"
                         " --mount=type=secret,id=none echo hi > /out; touch /t/x /c/y\n")
    assert ground.files(image) == {"out"}


def test_copy_puts_things_where_docker_does(ground: Ground) -> None:
    ground.write({"f": "f", "d/one": "1", "d/e/two": "2", "x.c": "", "y.c": "", "z.h": ""})
    (ground.context / "d/link").symlink_to("one")
    image = ground.build("""\
FROM base
RUN ln -s srv /dest; mkdir /there
WORKDIR /w
COPY f name
COPY f there/
COPY d d2
COPY f /there
COPY *.c /c/
COPY d/e f /both/
COPY f /dest/f
COPY --parents d/./e/two x.c /p/
COPY --exclude=e --exclude=li* d /ex
""")
    found = {path for number in range(9) for path in ground.files(image, number)}
    assert {"w/name", "w/there/f", "w/d2/e/two", "w/d2/link", "there/f", "c/x.c", "c/y.c",
            "both/two", "both/f", "srv/f", "p/e/two", "p/x.c", "ex/one"} <= found
    assert not {"dest", "ex/e", "ex/link", "c/z.h"} & found


def test_owners_and_modes(ground: Ground) -> None:
    ground.write({"f": "f", "d/g": "g"})
    os.chown(ground.context / "f", 5, 6)
    image = ground.build("""\
FROM base
COPY f /plain
COPY --chown=bob --chmod=640 f /bob
COPY --chown=7:wheel --chmod=u=rwX,go= d /d
COPY --from=base --chown=9 /etc/passwd /nine
RUN stat -c '%n %u:%g %a' /plain /bob /d /d/g /nine
""")
    assert ground.output().splitlines() == [
        "/plain 0:0 644", "/bob 1000:1001 640", "/d 7:10 755", "/d/g 7:10 600", "/nine 9:9 644"]
    assert image.config.env


def test_ignored_files_are_not_there(ground: Ground) -> None:
    ground.write({"a": "a", "b": "b", "deep/keep": "k", "deep/drop": "d", ".dockerignore":
                  "b\ndeep\n!deep/keep\n"})
    image = ground.build("FROM base\nCOPY . /x\n")
    assert ground.files(image) == {"x", "x/.dockerignore", "x/a", "x/deep", "x/deep/keep"}
    with pytest.raises(BuildError) as caught:
        ground.build("FROM base\nCOPY b /x\n")
    assert caught.value.hint == "it is there, but .dockerignore leaves it out"


def test_add_unpacks_archives_and_fetches(ground: Ground) -> None:
    with tarfile.open(ground.context / "a.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("inside/file")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"hi"))
    ground.write({"plain.gz": "not really"})
    image = ground.build("FROM base\nADD a.tar.gz plain.gz /x/\nADD --unpack=false a.tar.gz /raw\n")
    assert ground.files(image, 1) == {"x", "x/inside", "x/inside/file", "x/plain.gz"}
    assert ground.files(image, 0) == {"raw"}
    image = ground.build("FROM base\nADD --chown=5:6 --chmod=700 a.tar.gz /own/\n")
    made = [os.stat(f"{image.layers[0]}/own{name}") for name in ("", "/inside/file")]
    assert [(s.st_uid, s.st_mode & 0o7777) for s in made] == [(5, 0o755), (0, 0o644)]
    assert [fetch.is_git(u) for u in ("https://x/y.git#v1:d", "https://x/y", "git@h:r")] == [
        True, False, True]


def test_here_documents_are_files_and_scripts(ground: Ground) -> None:
    image = ground.build("""\
FROM base
ENV WHO=me
COPY <<one <<"two" /d/
hi $WHO "q"
one
hi $WHO
two
RUN <<EOF
cat /d/one
echo $0 > /shell
EOF
RUN <<EOF
#!/bin/cat
a program
EOF
RUN cat <<A <<B
from the shell
A
and again
B
""")
    assert ground.read(image, "/d/one") == 'hi me "q"\n'
    assert ground.read(image, "/d/two") == "hi $WHO\n"
    assert ground.output().splitlines() == [
        'hi me "q"', "#!/bin/cat", "a program", "and again"]


def test_links_of_an_image_lead_nowhere_outside(ground: Ground, tmp_path: Path) -> None:
    ground.write({"f": "x"})
    image = ground.build(f"FROM base\nRUN ln -s {tmp_path} /out; ln -s ../../../../tmp /up\n"
                         "COPY f /out/\nCOPY f /up/g\n")
    assert not (tmp_path / "f").exists()
    assert f"{tmp_path}/f".lstrip("/") in ground.files(image, 1)
    assert ground.files(image, 0) >= {"tmp/g"}


# ---- commands ----


def test_mounts_bring_files_that_do_not_stay(ground: Ground, tmp_path: Path) -> None:
    ground.write({"src/a": "source", "drop": "d", ".dockerignore": "drop"})
    (tmp_path / "token").write_text("hunter2")
    image = ground.build("""\
FROM base AS tool
RUN echo tool > /tool; touch /etc/more
FROM base
RUN --mount=target=/ctx --mount=from=tool,target=/t --mount=from=tool,source=tool,target=/f \\
    --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=token,target=/s,uid=1000 \\
    cat /ctx/src/a /t/tool /f /s; echo $TOKEN; stat -c %u%a /s; ls /ctx; ls /t/etc; \\
    touch /ctx/x /t/x && exit 1; true
RUN --mount=target=/ctx,rw touch /ctx/new && ls /ctx/src
""", secrets={"token": str(tmp_path / "token")})
    lines = ground.output()
    for wanted in ("sourcetool\ntool\nhunter2hunter2", "1000400", "src", "more", "Read-only"):
        assert wanted in lines
    assert "drop" not in lines
    assert not (ground.context / "new").exists()
    assert image.layers == ground.find("base").layers


ASK = """\
import os, socket
path = os.environ["SSH_AUTH_SOCK"]
info = os.stat(path)
with socket.socket(socket.AF_UNIX) as agent:
    agent.connect(path)
    agent.sendall(b"keys?")
    agent.shutdown(socket.SHUT_WR)
    print(info.st_uid, info.st_gid, oct(info.st_mode & 0o777), agent.makefile("rb").read())
"""


def test_an_agent_answers_whoever_its_socket_belongs_to(ground: Ground, tmp_path: Path) -> None:
    ground.store.tag(host.host_image(ground.store).id, "machine")
    ground.write({"ask.py": ASK})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        answering = threading.Thread(target=_answer, args=(listener,), daemon=True)
        answering.start()
        ground.build("FROM machine\nUSER 1000\nRUN --mount=type=ssh,uid=1000,gid=5,mode=640 "
                     "--mount=target=/ctx python3 /ctx/ask.py\n",
                     ssh={"default": str(tmp_path / "agent")})  # fmt: skip
        answering.join()
    assert ground.output() == "1000 5 0o640 b'KEYS?'"
    with pytest.raises(BuildError, match=r"Dockerfile:2:5: --mount: .*no ssh agent `other`"):
        ground.build("FROM base\nRUN --mount=type=ssh,id=other,required true\n")


def _answer(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as asked:
        connection.sendall(asked.read().upper())


def test_a_cache_mount_is_kept_between_builds(ground: Ground) -> None:
    text = "FROM base\nRUN --mount=type=cache,target=/c,id=kept ls /c; touch /c/{}\n"
    ground.build(text.format("one"))
    ground.build(text.format("two"))
    assert ground.output() == "one"


def test_a_command_that_fails_is_told_with_its_place_and_output(ground: Ground) -> None:
    with pytest.raises(BuildError) as caught:
        ground.build("FROM base\nRUN true \\\n && echo reason >&2 && exit 3\n")
    where, message, _ = caught.value.problems[0]
    assert where == "Dockerfile:2:1"
    assert message.endswith("exit code 3\nreason")
    assert os.listdir(f"{ground.store.root}/tmp") == []


def test_users_directories_and_shells(ground: Ground) -> None:
    ground.build("""\
FROM base
SHELL ["/bin/sh", "-ec"]
WORKDIR /a/b
USER bob
RUN id -u; echo $HOME; ls -d /a/b
""")
    assert ground.output().splitlines() == ["1000", "/home/bob", "/a/b"]


def test_what_is_not_granted_is_refused_and_what_is_works(ground: Ground) -> None:
    for flag in ("--security=insecure", "--network=host"):
        with pytest.raises(BuildError, match="not granted"):
            ground.build(f"FROM base\nRUN {flag} true\n")
    ground.build("FROM base\nRUN --security=insecure cat /proc/self/status\n"
                 "RUN --network=none cat /proc/net/dev\n",
                 entitlements=frozenset({"security.insecure"}))  # fmt: skip
    assert "Seccomp:\t0" in ground.output()
    devices = ground.output().partition("Inter-|")[2]
    assert [line.split(":")[0].strip() for line in devices.splitlines()[2:]] == ["lo"]


def test_stages_that_need_nothing_of_each_other_run_at_the_same_time(ground: Ground) -> None:
    """Each waits for the other through a shared cache mount."""
    wait = ("touch /c/{0}; for i in 0 1 2 3 4 5 6 7 8 9; do "
            "for j in 0 1 2 3 4 5 6 7 8 9; do test -e /c/{1} && exit 0; sleep 0.1; done; done; "
            "exit 1")
    mount = "RUN --mount=type=cache,target=/c,id=meet "
    ground.build(f"FROM base AS a\n{mount}{wait.format('a', 'b')}\n"
                 f"FROM base AS b\n{mount}{wait.format('b', 'a')}\n"
                 "FROM scratch\nCOPY --from=a /etc/group /a\nCOPY --from=b /etc/group /b\n")


def test_a_failure_stops_the_other_stages(ground: Ground) -> None:
    with pytest.raises(BuildError, match="exit code 5"):
        ground.build("FROM base AS a\nRUN sleep 0.2; exit 5\nFROM base AS b\nRUN sleep 600\n"
                     "FROM scratch\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\n")


# ---- the result ----


def test_the_configuration_is_what_the_file_says(ground: Ground) -> None:
    parent = ground.build('FROM base\nENV WHO=you\nCMD ["old"]\nONBUILD RUN echo triggered\n')
    ground.store.tag(parent.id, "parent")
    image = ground.build("""\
ARG TAG=parent
FROM $TAG
ENTRYPOINT ["/e"]
ENV A="x $WHO" B=2
LABEL l=$A
EXPOSE 80 90-91/udp
VOLUME /v
STOPSIGNAL SIGQUIT
HEALTHCHECK --retries=2 CMD check
""", labels={"by": "compose"})
    assert ground.output() == "triggered"
    config = image.config
    assert (config.entrypoint, config.command) == (("/e",), ())
    assert dict(config.env)["A"] == "x you"
    assert config.labels == {"l": "x you", "by": "compose"}
    assert config.exposed_ports == ("80/tcp", "90/udp", "91/udp")
    assert (config.on_build, config.stop_signal, config.volumes) == ((), "SIGQUIT", ("/v",))
    history = parse(ground.store.read_blob(image.id)).history
    assert [item.created_by for item in history][-2:] == ["STOPSIGNAL SIGQUIT",
                                                          "HEALTHCHECK --retries=2 CMD check"]


def test_an_image_of_the_machine_itself_can_be_built_on(ground: Ground) -> None:
    ground.store.tag(host.host_image(ground.store).id, "machine")
    ground.write({"tool": "#!/bin/sh\necho mine\n"})
    image = ground.build("""\
FROM machine
COPY --chmod=755 tool /usr/local/bin/mine
RUN mine > /usr/local/made && python3 -c 'print(1+1)'
RUN rm /usr/local/made; ls /usr/local/bin/mine /usr/local
""")
    assert ground.output().splitlines()[0] == "2"
    assert "made" not in ground.output()
    assert image.host_usr
    assert "usr/local/bin/mine" in ground.files(image, 2)


KILLED = """
import sys, threading
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.build.ground import Ground
from orchestrator.engine.buildrun import BuildRunner
ground = Ground.__new__(Ground)
with BuildRunner() as runner:
    from orchestrator.image.store import ImageStore
    ground.root, ground.runner, ground.events, ground.ran = Path(sys.argv[1]), runner, [], []
    ground.store, ground.context = ImageStore(sys.argv[1] + "/store"), Path(sys.argv[1])
    print("begun", flush=True)
    ground.build("FROM base\\nRUN echo one > /one\\nRUN echo two > /two; sleep 600\\n")
"""


def test_a_killed_build_leaves_a_store_that_the_next_one_goes_on_with(
    tmp_path: Path, runner: BuildRunner
) -> None:
    ground = Ground(tmp_path, runner)
    ground.add_base()
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), root],
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        steps = tmp_path / "store/steps"
        pause = threading.Event()
        while not (steps.is_dir() and os.listdir(steps)):
            assert process.poll() is None
            pause.wait(0.02)
        process.kill()
    image = ground.build("FROM base\nRUN echo one > /one\nRUN echo two > /two\n")
    assert [status for _, status in ground.statuses()] == ["Cached", "Done"]
    assert ground.read(image, "/two") == "two\n"
    assert os.listdir(tmp_path / "store/tmp") == []
