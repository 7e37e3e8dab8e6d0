"""The service as tests use it."""

import http.client

import pytest


class Links:
    """A client of one running service."""

    def __init__(self, stack):
        self.stack = stack

    def _ask(self, method, name, body=None):
        connection = http.client.HTTPConnection(*self.stack.address("links", 8000), timeout=10)
        try:
            connection.request(method, f"/{name}", body=body)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("Location")
        finally:
            connection.close()

    def put(self, name, address):
        return self._ask("PUT", name, address)[0]

    def get(self, name):
        return self._ask("GET", name)

    def sql(self, query):
        """What the database itself says."""
        stack = self.stack
        return stack.exec("postgres", "psql", "-h", "/tmp", "-U", "webapp", "-qAtc", query,
                          env={"PGPASSWORD": "not-a-secret"}).stdout.strip()


@pytest.fixture(scope="session")
def seeded(compose_project):
    """The stack with one link in it, kept: every `compose_reset` brings this back."""
    assert Links(compose_project).put("known", "https://example.org/known") == 201
    compose_project.snapshot("seeded")
    return compose_project


@pytest.fixture
def links(seeded, compose_reset):
    """A client; the data is as it was seeded."""
    return Links(seeded)
