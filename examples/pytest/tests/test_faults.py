"""What happens when something else does not work."""


def test_without_redis_it_is_slower_and_right(links, seeded):
    with seeded.fault.partition("links", "redis"):
        assert links.get("known") == (302, "https://example.org/known")
        assert links.put("meanwhile", "https://example.org/m") == 201
    assert links.get("meanwhile")[0] == 302


def test_without_postgres_what_is_remembered_is_answered(links, seeded):
    links.get("known")
    with seeded.fault.stop("postgres"):
        assert links.get("known") == (302, "https://example.org/known")
        assert links.get("other")[0] == 503
    assert links.get("other")[0] == 404


def test_a_killed_database_has_lost_nothing(links, seeded):
    assert links.put("durable", "https://example.org/d") == 201
    with seeded.fault.kill("postgres"):
        pass
    assert links.get("durable") == (302, "https://example.org/d")


def test_a_frozen_redis_holds_nobody_up_for_long(links, seeded):
    with seeded.fault.pause("redis"):
        assert links.get("known")[0] == 302
