"""How a key differs here from `docker compose`, for docs/compose-reference.md; on purpose, or for
want of something that a daemon has."""

from __future__ import annotations

DIFFERENCES: dict[str, str] = {
    "name": "a name from `-p` or COMPOSE_PROJECT_NAME has to be a proper one; others are made so",
    "services.*.image": "`pcompose/host` is this machine's own /usr, read-only, without a download",
    "services.*.container_name": "refused before anything is made where two services share it",
    "services.*.depends_on.*.condition":
        "`service_healthy` on a service whose check is disabled is refused: it would never come",
    "services.*.environment": "a date keeps its text; the reference prints it as a time",
    "services.*.extra_hosts": "an address that is none is refused with its place",
    "services.*.init": "a PID 1 of 1.3 KB written for this; it forwards signals and reaps",
    "services.*.logging.driver": "json-file and local are the same here: our own log with an index",
    "services.*.ports": "the same port published twice is one port, as number or text",
    "services.*.ports.*.host_ip": "an IPv6 address needs no brackets",
    "services.*.post_start": "one whose container has exited meanwhile fails",
    "services.*.pre_start": "another image of a hook is a reason to recreate the service",
    "services.*.restart": "a word that is no policy is refused with its place when somebody acts",
    "services.*.stop_grace_period":
        "not waited for where the kernel drops the signal, since the process has no handler for it",
    "services.*.volumes": "one entry for each target; a later file replaces the whole entry",
    "services.*.volumes.*.bind.selinux": "refused where SELinux is in use, no effect elsewhere",
    "services.*.gpus": "an unknown key is refused, as everywhere",
    "services.*.ulimits": "the name of a limit has small letters only",
    "networks": "the name of a network has letters, digits and `._-`, as that of a volume",
    "services.*.networks.*.driver_opts":
        "`com.docker.network.endpoint.sysctls`; any other option is refused",
    "networks.*.driver_opts":
        "`com.docker.network.bridge.` name, enable_icc, enable_ip_masquerade, host_binding_ipv4, "
        "`com.docker.network.driver.mtu`, `com.docker.network.container_iface_prefix`, "
        "`pcompose.dns.healthy` (names stand for healthy replicas, as long as there are any); any "
        "other option is refused",
    "networks.*.enable_ipv6": "a unique local /64 is chosen where no subnet is given",
    "networks.*.ipam.config": "several subnets of one family work: the next one when one is full",
    "networks.*.ipam.config.*.subnet":
        "without one, a free /24 that overlaps no route of this machine",
    "models": "the name of a model has letters, digits and `._-`",
    "services.*.secrets":
        "on a tmpfs; `uid`, `gid` and `mode` are exact whatever the source, also under `read_only`",
    "services.*.configs": "as `secrets`",
    "volumes.*.driver_opts":
        "mounted from the first container on until the last one is removed",
    "secrets.*.external":
        "works: `pcompose secrets create NAME FILE`; an unknown key below it is refused",
    "configs.*.external":
        "works: `pcompose configs create NAME FILE`; an unknown key below it is refused",
}
"""Path with `*` for names and items -> one sentence."""
