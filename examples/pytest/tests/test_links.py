"""What the service promises, on the real postgres and redis."""

import pytest


def test_a_link_that_was_put_leads_somewhere(links):
    assert links.put("new", "https://example.org/new") == 201
    assert links.get("new") == (302, "https://example.org/new")
    assert links.get("never-put")[0] == 404


def test_a_name_can_be_had_once(links):
    assert links.put("known", "https://example.org/other") == 409
    assert links.get("known") == (302, "https://example.org/known")


@pytest.mark.parametrize("number", range(3))
def test_each_test_begins_with_what_was_seeded(links, number):
    assert links.sql("SELECT name, visits FROM link") == "known|0"
    links.get("known")
    links.put(f"extra-{number}", "x")
    assert links.sql("SELECT count(*), sum(visits) FROM link") == "2|1"


def test_redis_answers_what_was_asked_for_lately(links):
    for _ in range(3):
        links.get("known")
    assert links.sql("SELECT visits FROM link") == "1"


def test_migrations_were_done_in_order(seeded, links):
    assert links.sql("SELECT string_agg(done::text, ',' ORDER BY done) FROM version") == "1,2"
    assert "migrated to version 2" in seeded.logs("links")
