"""For every key of the specification that works: two values that cannot mean the same.

A pair is two pieces of a Compose file, in YAML: below `services: {s: …}` for keys of a service,
below `services: {s: {build: …}}` for those of a build, at the top for all others.
"""

from __future__ import annotations

from pathlib import Path

Pairs = dict[str, tuple[str, str]]


def _both(key: str, one: str, other: str) -> tuple[str, str]:
    return f"{key}: {one}", f"{key}: {other}"


def _plain(table: dict[str, tuple[str, str]]) -> Pairs:
    return {key: _both(key, *pair) for key, pair in table.items()}


def _nested(outer: str, form: str, table: dict[str, tuple[str, str]]) -> Pairs:
    """`form` has `%s` where the part below `outer` is to stand."""
    return {
        f"{outer}.{key}": (form % f"{name}: {one}", form % f"{name}: {other}")
        for key, (one, other) in table.items()
        for name in [key.rpartition(".")[2]]
    }


_RATES: Pairs = {
    f"blkio_config.device_{way}.*.{key}": (
        f"blkio_config: {{device_{way}: [{{path: /dev/null, rate: 10}}]}}",
        f"blkio_config: {{device_{way}: [{{{other}}}]}}",
    )
    for way in ("read_bps", "read_iops", "write_bps", "write_iops")
    for key, other in (("path", "path: /dev/zero, rate: 10"), ("rate", "path: /dev/null, rate: 20"))
}
_HOOKS = {
    f"{hook}.*.{key}": (f"{hook}: [{{command: [x], {one}}}]", f"{hook}: [{{command: [x], {two}}}]")
    for hook in ("pre_start", "post_start", "pre_stop")
    for key, one, two in (
        ("user", "user: a", "user: b"), ("privileged", "privileged: true", "privileged: false"),
        ("working_dir", "working_dir: /a", "working_dir: /b"),
        ("environment", "environment: {A: a}", "environment: {A: b}"),
    )
}  # fmt: skip
_GRANTS = {
    f"{section}.*.{key}": (f"{section}: [{{source: {name}, {one}}}]",
                           f"{section}: [{{source: {name}, {two}}}]")
    for section, name in (("secrets", "x"), ("configs", "c"))
    for key, one, two in (
        ("target", "target: /a", "target: /b"), ("uid", "uid: '1'", "uid: '2'"),
        ("gid", "gid: '1'", "gid: '2'"), ("mode", "mode: '0440'", "mode: '0400'"),
    )
}  # fmt: skip
_REQUEST = "driver: cdi, capabilities: [cdi]"

SERVICE: Pairs = {
    **_plain({
        "annotations": ("{a: x}", "{a: y}"), "cap_add": ("[NET_ADMIN]", "[SYS_TIME]"),
        "cap_drop": ("[CHOWN]", "[KILL]"), "cgroup": ("host", "private"),
        "cgroup_parent": ("a", "b"), "command": ("a", "b"), "container_name": ("aa", "bb"),
        "cpu_period": ("10000", "20000"), "cpu_quota": ("10000", "20000"),
        "cpu_rt_period": ("10000", "20000"), "cpu_rt_runtime": ("1000", "2000"),
        "cpu_shares": ("100", "200"), "cpus": ("0.5", "1"), "cpuset": ("'0'", "'0-1'"),
        "depends_on": ("[t]", "[]"), "device_cgroup_rules": ("['c 1:3 mr']", "['c 1:5 mr']"),
        "dns": ("10.0.0.1", "10.0.0.2"), "dns_opt": ("[ndots:1]", "[ndots:2]"),
        "dns_search": ("a", "b"), "domainname": ("a", "b"), "entrypoint": ("a", "b"),
        "environment": ("{A: a}", "{A: b}"), "external_links": ("[a]", "[b]"),
        "extra_hosts": ("{h: 10.0.0.1}", "{h: 10.0.0.2}"), "group_add": ("['1']", "['2']"),
        "hostname": ("a", "b"), "image": ("one", "two"), "init": ("true", "false"),
        "ipc": ("private", "host"), "labels": ("{a: x}", "{a: y}"), "links": ("[t]", "[t:x]"),
        "mac_address": ("02:00:00:00:00:01", "02:00:00:00:00:02"), "mem_limit": ("64m", "65m"),
        "mem_reservation": ("64m", "65m"), "mem_swappiness": ("10", "20"),
        "network_mode": ("host", "none"), "oom_kill_disable": ("true", "false"),
        "oom_score_adj": ("10", "20"), "pid": ("host", "''"), "pids_limit": ("10", "20"),
        "privileged": ("true", "false"), "read_only": ("true", "false"),
        "restart": ("always", "'no'"), "scale": ("2", "3"), "shm_size": ("1m", "2m"),
        "security_opt": ("['no-new-privileges:true']", "['seccomp:unconfined']"),
        "stdin_open": ("true", "false"), "stop_grace_period": ("1s", "2s"),
        "stop_signal": ("SIGINT", "SIGHUP"), "sysctls": ("{net.core.somaxconn: 1}",
        "{net.core.somaxconn: 2}"), "tmpfs": ("[/a]", "[/b]"), "tty": ("true", "false"),
        "user": ("a", "b"), "uts": ("host", "''"),
        "volumes_from": ("[t]", "[]"), "working_dir": ("/a", "/b"),
        "label_file": ("one.env", "two.env"),
    }),
    **_RATES, **_HOOKS, **_GRANTS,
    "blkio_config.weight": ("blkio_config: {weight: 10}", "blkio_config: {weight: 20}"),
    "blkio_config.weight_device.*.path": (
        "blkio_config: {weight_device: [{path: /dev/null, weight: 10}]}",
        "blkio_config: {weight_device: [{path: /dev/zero, weight: 10}]}"),
    "blkio_config.weight_device.*.weight": (
        "blkio_config: {weight_device: [{path: /dev/null, weight: 10}]}",
        "blkio_config: {weight_device: [{path: /dev/null, weight: 20}]}"),
    "configs.*.source": ("configs: [c]", "configs: [{source: d, target: /c}]"),
    "secrets.*.source": ("secrets: [x]", "secrets: [{source: y, target: x}]"),
    **_nested("depends_on.*", "depends_on: {t: {condition: service_started, %s}}", {
        "restart": ("true", "false"),
    }),
    "depends_on.*.condition": ("depends_on: {t: {condition: service_healthy}}",
                               "depends_on: {t: {condition: service_started}}"),
    "depends_on.*.required": (
        "depends_on: {t: {condition: service_started, required: true}}",
        "depends_on: {t: {condition: service_started, required: false}}"),
    "deploy.replicas": ("deploy: {replicas: 2}", "deploy: {replicas: 3}"),
    **_nested("deploy.resources.limits", "deploy: {resources: {limits: {%s}}}", {
        "cpus": ("'0.5'", "'0.6'"), "memory": ("64m", "65m"), "pids": ("10", "20"),
    }),
    "deploy.resources.reservations.memory": (
        "deploy: {resources: {reservations: {memory: 64m}}}",
        "deploy: {resources: {reservations: {memory: 65m}}}"),
    "deploy.restart_policy.condition": ("deploy: {restart_policy: {condition: any}}",
                                        "deploy: {restart_policy: {condition: none}}"),
    "deploy.restart_policy.max_attempts": (
        "deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}",
        "deploy: {restart_policy: {condition: on-failure, max_attempts: 3}}"),
    **_nested("devices.*", "devices: [{source: /dev/null, target: /dev/a, %s}]", {
        "permissions": ("r", "rw"),
    }),
    "devices.*.source": ("devices: ['/dev/null:/dev/a']", "devices: ['/dev/zero:/dev/a']"),
    "devices.*.target": ("devices: ['/dev/null:/dev/a']", "devices: ['/dev/null:/dev/b']"),
    "env_file.*.path": ("env_file: one.env", "env_file: two.env"),
    "env_file.*.format": ("env_file: [{path: quoted.env, format: raw}]", "env_file: quoted.env"),
    "env_file.*.required": ("env_file: [{path: no.env, required: false}, one.env]",
                            "env_file: [{path: no.env, required: false}, two.env]"),
    "extends.service": ("extends: base", "extends: other"),
    "extends.file": ("extends: {file: a.yaml, service: far}",
                     "extends: {file: b.yaml, service: far}"),
    **_nested("healthcheck", "healthcheck: {test: [CMD, a], %s}", {
        "interval": ("3s", "4s"), "timeout": ("1s", "2s"), "retries": ("5", "6"),
        "start_period": ("1s", "2s"),
        "disable": ("true", "false"),
    }),
    "healthcheck.start_interval": (
        "healthcheck: {test: [CMD, a], start_period: 9s, start_interval: 1s}",
        "healthcheck: {test: [CMD, a], start_period: 9s, start_interval: 2s}"),
    "healthcheck.test": ("healthcheck: {test: [CMD, a]}", "healthcheck: {test: [CMD, b]}"),
    "logging.driver": ("logging: {driver: json-file, options: {max-size: 1m}}",
                       "logging: {driver: local}"),
    "logging.options": ("logging: {options: {max-size: 1m}}", "logging: {options: {max-size: 2m}}"),
    "memswap_limit": ("mem_limit: 64m\nmemswap_limit: 70m", "mem_limit: 64m\nmemswap_limit: 80m"),
    **_nested("networks.*", "networks: {n: {%s}}", {
        "aliases": ("[a]", "[b]"), "link_local_ips": ("[169.254.1.1]", "[169.254.1.2]"),
        "interface_name": ("aa", "bb"), "ipv4_address": ("10.7.0.9", "10.7.0.8"),
        "ipv6_address": ("'fd07::9'", "'fd07::8'"),
        "mac_address": ("02:00:00:00:00:01", "02:00:00:00:00:02"),
        "driver_opts": ("{com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.forwarding=1}",
                        "{com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.forwarding=0}"),
    }),
    "networks.*.priority": ("networks: {n: {priority: 9}, m: {priority: 1}}",
                            "networks: {n: {priority: 1}, m: {priority: 9}}"),
    "networks.*.gw_priority": ("networks: {n: {gw_priority: 9}, m: {gw_priority: 1}}",
                               "networks: {n: {gw_priority: 1}, m: {gw_priority: 9}}"),
    **_nested("ports.*", "ports: [{target: 80, published: '8080', %s}]", {
        "host_ip": ("127.0.0.1", "127.0.0.2"), "protocol": ("tcp", "udp"),
    }),
    "ports.*.target": ("ports: ['8080:80']", "ports: ['8080:81']"),
    "ports.*.published": ("ports: ['8080:80']", "ports: ['8081:80']"),
    "pre_start.*.command": ("pre_start: [{command: [x]}]", "pre_start: [{command: [y]}]"),
    "post_start.*.command": ("post_start: [{command: [x]}]", "post_start: [{command: [y]}]"),
    "pre_stop.*.command": ("pre_stop: [{command: [x]}]", "pre_stop: [{command: [y]}]"),
    "pre_start.*.image": ("pre_start: [{command: [x], image: one}]",
                          "pre_start: [{command: [x], image: two}]"),
    "profiles": ("profiles: []", "profiles: ['off']"),
    "ulimits.*.soft": ("ulimits: {nofile: {soft: 1, hard: 9}}",
                       "ulimits: {nofile: {soft: 2, hard: 9}}"),
    "ulimits.*.hard": ("ulimits: {nofile: {soft: 1, hard: 9}}",
                       "ulimits: {nofile: {soft: 1, hard: 8}}"),
    "volumes.*.type": ("volumes: [{type: tmpfs, target: /x}]",
                       "volumes: [{type: volume, target: /x}]"),
    "volumes.*.source": ("volumes: ['va:/x']", "volumes: ['wa:/x']"),
    "volumes.*.target": ("volumes: ['va:/x']", "volumes: ['va:/y']"),
    "volumes.*.read_only": ("volumes: ['va:/x:ro']", "volumes: ['va:/x']"),
    **_nested("volumes.*.bind", "volumes: [{type: bind, source: ., target: /x, bind: {%s}}]", {
        "propagation": ("rslave", "rprivate"), "recursive": ("disabled", "enabled"),
        "create_host_path": ("true", "false"),
    }),
    **_nested("volumes.*.volume",
              "volumes: [{type: volume, source: va, target: /x, volume: {%s}}]", {
        "nocopy": ("true", "false"), "subpath": ("a", "b"),
    }),
    "volumes.*.volume.labels": (
        "volumes: [{type: volume, target: /x, volume: {labels: {a: x}}}]",
        "volumes: [{type: volume, target: /x, volume: {labels: {a: y}}}]"),
    **_nested("volumes.*.tmpfs", "volumes: [{type: tmpfs, target: /x, tmpfs: {%s}}]", {
        "size": ("1m", "2m"), "mode": ("0700", "0755"),
    }),
    **_nested("volumes.*.image", "volumes: [{type: image, source: one, target: /x, image: {%s}}]", {
        "subpath": ("a", "b"),
    }),
}  # fmt: skip

BUILD: Pairs = {
    **_plain({
        "context": ("one", "two"), "dockerfile": ("a.Dockerfile", "b.Dockerfile"),
        "dockerfile_inline": ("FROM a", "FROM b"), "network": ("host", "none"),
        "target": ("a", "b"), "args": ("{A: a}", "{A: b}"), "labels": ("{a: x}", "{a: y}"),
        "additional_contexts": ("{x: ./one}", "{x: ./two}"),
        "entitlements": ("[network.host]", "[security.insecure]"),
        "no_cache": ("true", "false"), "privileged": ("true", "false"),
        "no_cache_filter": ("[a]", "[b]"), "shm_size": ("1m", "2m"),
        "extra_hosts": ("{h: 10.0.0.1}", "{h: 10.0.0.2}"), "platforms": ("[]", "[linux/arm64]"),
    }),
    "secrets.*.source": ("secrets: [x]", "secrets: [{source: y, target: x}]"),
    "secrets.*.target": ("secrets: [{source: x, target: a}]", "secrets: [{source: x, target: b}]"),
    "ulimits.*.soft": ("ulimits: {nofile: {soft: 1, hard: 9}}",
                       "ulimits: {nofile: {soft: 2, hard: 9}}"),
    "ulimits.*.hard": ("ulimits: {nofile: {soft: 1, hard: 9}}",
                       "ulimits: {nofile: {soft: 1, hard: 8}}"),
}  # fmt: skip

_NETWORK = "networks: {n: {%s}}"
_POOL = "networks: {n: {ipam: {config: [{subnet: 10.7.0.0/16, %s}]}}}"
TOP: Pairs = {
    "name": ("name: p", "name: q"),
    "include.*.path": ("include: [{path: a.yaml}]", "include: [{path: b.yaml}]"),
    "include.*.env_file": ("include: [{path: env.yaml, env_file: one.env}]",
                           "include: [{path: env.yaml, env_file: two.env}]"),
    "include.*.project_directory": (
        "include: [{path: where.yaml, project_directory: one}]",
        "include: [{path: where.yaml, project_directory: two}]"),
    **_nested("networks.*", _NETWORK, {
        "name": ("a", "b"), "internal": ("true", "false"), "enable_ipv6": ("true", "false"),
        "labels": ("{a: x}", "{a: y}"),
        "driver_opts": ("{com.docker.network.driver.mtu: 1400}",
                        "{com.docker.network.driver.mtu: 1300}"),
    }),
    "networks.*.enable_ipv4": ("networks: {n: {enable_ipv6: true, enable_ipv4: true}}",
                               "networks: {n: {enable_ipv6: true, enable_ipv4: false}}"),
    "networks.*.ipam.config.*.subnet": (
        "networks: {n: {ipam: {config: [{subnet: 10.7.0.0/16}]}}}",
        "networks: {n: {ipam: {config: [{subnet: 10.8.0.0/16}]}}}"),
    **_nested("networks.*.ipam.config.*", _POOL, {
        "ip_range": ("10.7.1.0/24", "10.7.2.0/24"), "gateway": ("10.7.0.3", "10.7.0.4"),
        "aux_addresses": ("{h: 10.7.0.2}", "{h: 10.7.9.2}"),
    }),
    "networks.*.external": ("networks: {n: {external: true, name: there}}",
                            "networks: {n: {name: there}}"),
    "networks.*.external.name": ("networks: {n: {external: {name: there}}}",
                                 "networks: {n: {external: {name: here}}}"),
    **_nested("volumes.*", "volumes: {va: {%s}}", {
        "name": ("a", "b"), "labels": ("{a: x}", "{a: y}"),
        "driver_opts": ("{type: tmpfs, device: tmpfs, o: size=1m}",
                        "{type: tmpfs, device: tmpfs, o: size=2m}"),
    }),
    "volumes.*.external": ("volumes: {va: {external: true, name: there}}",
                           "volumes: {va: {name: there}}"),
    "volumes.*.external.name": ("volumes: {va: {external: {name: there}}}",
                                "volumes: {va: {external: {name: here}}}"),
    **{
        f"{section}.*.{key}": (f"{section}: {{{name}: {{{one}}}}}",
                               f"{section}: {{{name}: {{{two}}}}}")
        for section, name in (("secrets", "x"), ("configs", "c"))
        for key, one, two in (
            ("file", "file: one.env", "file: two.env"),
            ("environment", "environment: ONE", "environment: TWO"),
            ("external", "external: true, name: one", "external: true, name: two"),
            ("external.name", "external: {name: one}", "external: {name: two}"),
        )
    },
    "secrets.*.name": ("secrets: {x: {external: true, name: one}}",
                       "secrets: {x: {external: true, name: two}}"),
    "configs.*.name": ("configs: {c: {external: true, name: one}}",
                       "configs: {c: {external: true, name: two}}"),
    "configs.*.content": ("configs: {c: {content: one}}", "configs: {c: {content: two}}"),
}  # fmt: skip

ELSEWHERE = {
    "services.*.develop": "is for `watch`: tests/e2e/test_watch.py",
    "models": "every key below it is refused",
    "services.*.volumes.*.bind.selinux": "refused on a kernel that has SELinux: "
                                         "tests/engine/test_isolation.py",
    "services.*.attach": "decides whose output `up` shows: tests/e2e/test_following.py",
    "services.*.pull_policy": "decides whether an image is built, or pulled: "
                              "tests/e2e/test_builds.py, tests/engine/test_pulling.py",
    "services.*.build.pull": "asks a registry first: tests/e2e/test_registries.py",
    "services.*.platform": "is compared with the image's: tests/engine/test_cdi.py and "
                           "engine.platforms",
    "services.*.build.cache_from": "is used when a step is missed: tests/e2e/test_builds.py",
    "services.*.build.cache_to": "is written after a build: tests/e2e/test_builds.py",
    "services.*.build.ssh": "needs an agent: tests/build and engine.buildfile",
    "services.*.build.tags": "names the image once it is made: tests/e2e/test_builds.py",
    **{f"services.*.{key}": "needs a device of CDI: tests/engine/test_cdi.py" for key in (
        "gpus", "deploy.resources.reservations.devices")},
    **dict.fromkeys((
        "services.*.isolation", "services.*.userns_mode", "services.*.build.isolation",
        "services.*.build.provenance",
        "services.*.build.sbom", "networks.*.driver", "networks.*.ipam.driver",
        "volumes.*.driver"), "has one value that works"),
}  # fmt: skip
"""Keys that no ContainerSpec and no plan has: what they do, and where that is tried."""

FILES = {
    "one.env": "A=one\n", "two.env": "A=two\n", "quoted.env": "A='x'\n",
    "a.yaml": "services: {far: {image: i, user: a}}\n",
    "b.yaml": "services: {far: {image: i, user: b}}\n",
    "env.yaml": "services: {env: {image: i, user: $A}}\n",
    "where.yaml": "services: {where: {image: i, volumes: ['./x:/x']}}\n",
    "one/Dockerfile": "FROM scratch\n", "two/Dockerfile": "FROM scratch\nUSER x\n",
    "one/a.Dockerfile": "FROM scratch\nUSER a\n", "one/b.Dockerfile": "FROM scratch\nUSER b\n",
    "one/x/y": "", "two/x/y": "",
}  # fmt: skip


def lay_out(directory: Path) -> None:
    """The files that the pairs name."""
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
