"""Values that tests of `engine` start from."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.endpoints import Attachment
from orchestrator.engine.mounting import mounting
from orchestrator.engine.resolve import Identity, ImageFacts, resolve
from orchestrator.image.config import ImageConfig
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.spec.model import Network, Project, Service, ServiceNetwork
from orchestrator.spec.tree import Mark
from orchestrator.state.layout import Layout
from orchestrator.state.records import NetworkRecord

LAYOUT = Layout("/data", "/run")
ID = "0123456789ab" + "0" * 52


def service(**said: Any) -> Service:
    networks = {"default": ServiceNetwork(network="default")}
    return Service(**{"name": "web", "image": "img", "networks": networks, **said})


def project(*services: Service) -> Project:
    return Project(
        name="p", working_dir="/src", files=("/src/compose.yaml",),
        services={s.name: s for s in services},
        networks={"default": Network(key="default", name="p_default")},
        marks={("services", s.name): Mark("/src/compose.yaml", 3, 5) for s in services},
    )  # fmt: skip


def record(key: str = "default", **said: Any) -> NetworkRecord:
    fields: dict[str, Any] = {
        "name": f"p_{key}", "key": key, "project": "p", "bridge": f"br-{key}",
        "subnet": "10.1.2.0/24", "gateway": "10.1.2.1", "internal": False, "config_hash": "",
        "config": {}, "labels": {}, **said,
    }  # fmt: skip
    return NetworkRecord(**fields)


def attachment(key: str = "default", address: str = "10.1.2.3", **said: Any) -> Attachment:
    made = record(key, **said)
    return Attachment(network=made, address=address, mac="02:42:0a:01:02:03", gateway=made.gateway)


def resolved(
    service_: Service, *, config: ImageConfig | None = None,
    attachments: tuple[Attachment, ...] = (), oneoff: bool = False, use_aliases: bool = True,
) -> ContainerSpec:  # fmt: skip
    whole = project(service_)
    config = config or ImageConfig(command=("true",))
    names = iter(f"anonymous{n}" for n in range(9))
    mounts = mounting(service_, project=whole, layout=LAYOUT, image_volumes=config.volumes,
                      inherited={}, new_name=lambda: next(names))  # fmt: skip
    return resolve(
        service_, project=whole, identity=Identity(id=ID, name="p-web-1", index=1, oneoff=oneoff),
        image=ImageFacts(config=config, layers=("/l/top", "/l/low")), mounting=mounts,
        attachments=attachments, layout=LAYOUT, labels={"a": "b"}, use_aliases=use_aliases,
    )  # fmt: skip
