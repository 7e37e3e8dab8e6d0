"""The text of /etc/hosts, resolv.conf and hostname."""

from __future__ import annotations

from orchestrator.network import files


def test_hosts_has_loopback_names_extra_hosts_and_the_container() -> None:
    text = files.hosts_file(
        hostname="web", domainname="example.test", addresses=["172.20.5.2", "172.20.6.2"],
        extra_hosts=[("db", "10.0.0.9"), ("host.docker.internal", "host-gateway")],
        gateway="172.20.5.1",
    )  # fmt: skip
    lines = text.splitlines()
    assert lines[:2] == ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    assert lines[-4:] == [
        "10.0.0.9\tdb",
        "172.20.5.1\thost.docker.internal",
        "172.20.5.2\tweb.example.test web",
        "172.20.6.2\tweb.example.test web",
    ]


def test_a_host_gateway_without_a_gateway_is_left_out() -> None:
    text = files.hosts_file(hostname="web", extra_hosts=[("host", files.HOST_GATEWAY)])
    assert "\thost\n" not in text
    assert text.endswith("ff02::2\tip6-allrouters\n")


def test_resolv_conf_asks_for_whole_names_first() -> None:
    text = files.resolv_conf(nameservers=["127.0.0.11"], search=["a.test", "b.test"])
    assert text == "nameserver 127.0.0.11\nsearch a.test b.test\noptions ndots:0\n"


def test_a_search_list_of_a_dot_is_none() -> None:
    assert files.resolv_conf(nameservers=["127.0.0.11"], search=["."]) == (
        "nameserver 127.0.0.11\noptions ndots:0\n"
    )


def test_ndots_of_the_user_is_kept() -> None:
    text = files.resolv_conf(nameservers=["127.0.0.11"], options=["use-vc", "ndots:3"])
    assert text == "nameserver 127.0.0.11\noptions use-vc ndots:3\n"


def test_the_hosts_resolv_conf_is_read_as_the_resolver_reads_it() -> None:
    text = "# c\nnameserver 192.0.2.1\nsearch x.test\nnameserver\nnameserver fe80::1%eth0 # k\n;x\n"
    assert files.nameservers(text) == ["192.0.2.1", "fe80::1%eth0"]
    assert files.search_domains(text + "domain y.test\n") == ["y.test"]
    assert files.search_domains("") == []


def test_the_hostname_is_one_line() -> None:
    assert files.hostname_file("web") == "web\n"
