"""Scripts as users have them in their pipelines, with `pcompose` in the place of `docker compose`.

Each is a whole script: only that one word is replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

FILE = """
services:
  db:
    image: pcompose/host
    command: sh -c "sleep $${DELAY:-0}; touch /tmp/ready; echo db is up; exec sleep infinity"
    environment: {DELAY: "0.3"}
    healthcheck: {test: [CMD, test, -f, /tmp/ready], interval: 1s, timeout: 2s, retries: 30}
    stop_signal: SIGKILL
  api:
    image: pcompose/host
    command: sh -c "echo api is up; exec python3 -m http.server --bind 0.0.0.0 80"
    depends_on: {db: {condition: service_healthy}}
    ports: ["8080:80"]
    stop_signal: SIGKILL
  tests:
    image: pcompose/host
    profiles: [test]
    command: sh -c "echo running tests; getent hosts db && exit $${RESULT:-0}"
    environment: [RESULT]
    depends_on: [api]
"""

WAIT_THEN_TEST = """
set -eu
docker compose pull --quiet --ignore-buildable 2>/dev/null || true
docker compose up -d db api
attempts=0
until [ "$(docker compose ps --format json db | python3 -c '
import json, sys
print(json.loads(sys.stdin.readline())["Health"])')" = healthy ]; do
  attempts=$((attempts + 1))
  [ "$attempts" -lt 60 ] || { docker compose logs db; exit 1; }
  sleep 0.2
done
for service in $(docker compose ps --services --filter status=running); do
  echo "up: $service"
done
id=$(docker compose ps -q api)
[ "${#id}" = 64 ]
port=$(docker compose port api 80 | cut -d: -f2)
python3 -c "import sys, urllib.request as u; print(u.urlopen(f'http://127.0.0.1:{sys.argv[1]}/').status)" "$port"
docker compose exec -T db cat /tmp/ready
docker compose run --rm -T tests
docker compose down --volumes --remove-orphans --timeout 1
"""  # noqa: E501

COLLECT_LOGS = """
set -u
trap 'docker compose down -v --timeout 0 >/dev/null 2>&1' EXIT
if ! docker compose --profile test up -d --wait --wait-timeout 30 db api >up.txt 2>&1 ||
   ! docker compose --profile test run --rm -T tests; then
  mkdir -p artifacts
  docker compose --profile test ps --all >artifacts/ps.txt
  docker compose ps -a --format '{{.Service}} {{.State}} {{.ExitCode}}' >artifacts/states.txt
  for service in $(docker compose ps -a --services); do
    docker compose logs --no-color --timestamps --no-log-prefix "$service" >"artifacts/$service.log"
  done
  docker compose logs --no-color --tail=100 >artifacts/all.log
  exit 1
fi
"""

EXIT_CODE_FROM = """
docker compose --profile test up --no-color --abort-on-container-exit --exit-code-from tests
code=$?
docker compose --profile test rm --force --stop --volumes >/dev/null 2>&1
docker compose --profile test down -v --remove-orphans 2>/dev/null
exit $code
"""


def script(stack: Stack, text: str, **variables: str) -> CompletedProcess[str]:
    stack.write(FILE)
    stack.sandbox.environment |= {"COMPOSE_PROJECT_NAME": stack.name, **variables}
    stack.write(text.replace("docker compose", "pcompose"), "ci.sh")
    return stack.sandbox.run(["bash", "ci.sh"], cwd=stack.directory)


def test_wait_for_health_then_test(stack: Stack) -> None:
    done = script(stack, WAIT_THEN_TEST)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == ["up: api", "up: db", "200", "running tests"]
    assert stack.ps() == {}


def test_collect_logs_on_failure(stack: Stack) -> None:
    done = script(stack, COLLECT_LOGS, RESULT="4")
    assert done.returncode == 1, done.stdout + done.stderr
    kept = {p.name: p.read_text() for p in (stack.directory / "artifacts").iterdir()}
    assert kept["states.txt"].splitlines() == ["api running 0", "db running 0"]
    assert kept["db.log"].split(" ", 1)[1] == "db is up\n"
    assert "api-1  | api is up" in kept["all.log"]
    assert f"{stack.name}-api-1" in kept["ps.txt"]


@pytest.mark.parametrize("code", [0, 5])
def test_the_exit_code_of_the_tests_is_that_of_the_pipeline(stack: Stack, code: int) -> None:
    done = script(stack, EXIT_CODE_FROM, RESULT=str(code))
    assert done.returncode == code, done.stdout + done.stderr
    assert "tests-1  | running tests" in done.stdout
    assert f"tests-1 exited with code {code}" in done.stdout
