"""Stacks of a test's own, beside the one of all the others."""

import asyncio

import pytest

REDIS = """
services:
  redis:
    image: webapp:12
    command: [redis-server, --protected-mode, "no", --maxmemory-policy, "${POLICY}"]
"""


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_several_variants_of_one_service(compose_up, policy):
    stack = compose_up(text=REDIS, env={"POLICY": policy}, wait={"redis": {"tcp": 6379}})
    said = stack.exec("redis", "redis-cli", "config", "get", "maxmemory-policy").stdout
    assert said.split() == ["maxmemory-policy", policy]


def test_from_an_event_loop(compose_up):
    async def main():
        stack = compose_up(text=REDIS, env={"POLICY": "noeviction"}).aio
        await stack.wait_for("redis", log="Ready to accept connections")
        ended = await stack.exec("redis", "redis-cli", "ping")
        return ended.stdout.strip()

    assert asyncio.run(main()) == "PONG"
