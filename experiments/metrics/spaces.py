"""Feature spaces, in which distances between sets of images are measured, and their names in passports."""

from functools import partial
from typing import Any, NamedTuple

import jax

from experiments.data import pixels
from models import inception
from solvers.fingerprint import fingerprint

SPACES = ("classifier", "inception", "spatial", "pixels")
FRECHET_NAMES = {"inception": "fid", "spatial": "sfid"}
PLAIN = "no resize; x / 127.5 - 1"


class Space(NamedTuple):
    """One of SPACES by `name`, with its network: a flax module and parameters, None for pixels.

    spatial: the part of Inception's features that sFID uses (Nash et al. 2021, arXiv 2103.03841).
    """

    name: str
    module: Any = None
    params: Any = None

    @property
    def network(self) -> str:
        """The hash of the weights, the same for every file format; empty for pixels."""
        return "" if self.params is None else fingerprint(self.params)

    @property
    def metric(self) -> str:
        """The name of the Fréchet distance here. Only the one in Inception's features is called FID."""
        return FRECHET_NAMES.get(self.name, "frechet")

    def about(self) -> dict:
        """The passport entries: feature network and image preprocessing."""
        rule = inception.RULE if self.name in FRECHET_NAMES else PLAIN
        return {"features": f"{self.name} {self.network}".strip(), "input": rule}

    def on_device(self, images):
        """Features float32 [B, F] of uint8 images [B, H, W, C], which are on the devices."""
        return _on_device(self.name, self.module, self.params, images)


@partial(jax.jit, static_argnums=(0, 1))
def _on_device(name, module, params, images):
    if name in FRECHET_NAMES:
        return module.apply({"params": params}, images)[list(FRECHET_NAMES).index(name)]
    if name == "pixels":
        return pixels.to_float(images).reshape(len(images), -1)
    return module.apply({"params": params}, pixels.to_float(images))[0]
