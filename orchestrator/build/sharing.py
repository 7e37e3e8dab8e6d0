"""What builds have made, for another machine: an image whose layers are the layers of steps.

A label of its configuration says which step made which layer, so that caches travel as all images
do: through registries and as archives, verified like them.  With `inline` it is the built image
itself that has the label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from orchestrator.dataclass import asdict
from orchestrator.errors import ImageError
from orchestrator.image import config as configs
from orchestrator.image import document
from orchestrator.image.config import ConfigFile, ImageConfig
from orchestrator.image.manifest import host_platform
from orchestrator.image.steps import Step, StepRecords
from orchestrator.image.store import Image, ImageStore

LABEL = "pcompose.build.cache"
_KEY = re.compile(r"[0-9a-f]{64}")


def label(steps: Mapping[str, Step]) -> str:
    """The label's value: key -> what is known of the step but where its layer lies here."""
    said = {key: {k: v for k, v in asdict(step).items() if k != "name"}
            for key, step in steps.items()}
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def within(steps: Mapping[str, Step], diff_ids: tuple[str, ...]) -> dict[str, Step]:
    """The steps whose layers are among these, and those that changed nothing."""
    return {k: step for k, step in steps.items() if not step.diff_id or step.diff_id in diff_ids}


def image_of(store: ImageStore, steps: Mapping[str, Step]) -> Image:
    """An image, not to be run, with the layers of the steps."""
    found = {}
    for step in steps.values():
        layer = store.layer(step.diff_id) if step.diff_id else None
        if layer is not None:
            found[layer.diff_id] = layer
    layers = [found[diff_id] for diff_id in sorted(found)]
    kept = within(steps, tuple(found))
    file = ConfigFile(
        platform=host_platform(), created=None, config=ImageConfig(labels={LABEL: label(kept)}),
        diff_ids=tuple(layer.diff_id for layer in layers))  # fmt: skip
    if len(layers) > configs.MOST_LAYERS:
        raise ImageError(f"a cache of {len(layers)} layers is more than one image can have",
                         hint="mode=min keeps only those of the image itself")
    return store.add_image(configs.dump(file), layers)


def adopt(store: ImageStore, image: Image) -> int:
    """Remember the steps that an image brings; how many are new.  ImageError where it brings none,
    or says what makes no sense."""
    text = image.config.labels.get(LABEL)
    if text is None:
        raise ImageError("it has no build cache in it")
    records, new = StepRecords(store.root), 0
    layers = {layer.diff_id: layer for layer in store.layers(image)}
    for key, node in document.parse(text.encode(), what="the build cache").members():
        diff_id = node.get("diff_id").text("")
        if not _KEY.fullmatch(key) or (diff_id and diff_id not in layers):
            raise ImageError(f"the build cache has a step without its layer: {key[:12]}")
        if records.get(key) is None:
            layer = layers.get(diff_id)
            created = node.get("created").value
            records.put(key, Step(
                diff_id=diff_id, name=layer.name if layer else "", text=node.get("text").text(""),
                size=layer.size if layer else 0,
                created=float(created) if isinstance(created, int | float) else 0.0,
            ))  # fmt: skip
            new += 1
    return new
