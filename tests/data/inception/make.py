"""Writes features.npz beside this file: what the reference implementation makes of seeded weights and images.

PYTHONPATH=TORCH_FIDELITY:. python tests/data/inception/make.py     # a clone of github.com/toshas/torch-fidelity
"""

from pathlib import Path

import numpy as np
import torch

from tests.data.inception.original import original
from tests.data.inception.seeds import SIZES, images_of, torch_weights

network, seen = original(torch_weights())
found = {}
for size in SIZES:
    with torch.inference_mode():
        features, logits, biased = network(torch.tensor(images_of(size)).permute(0, 3, 1, 2))
    spatial = seen.pop()[:, :7].permute(0, 2, 3, 1).reshape(len(features), -1)
    name = f"{size[0]}x{size[1]}"
    found |= {f"features_{name}": features, f"spatial_{name}": spatial[:, ::17]}
    found |= {f"logits_{name}": logits[:, ::9], f"biased_{name}": biased[:, ::9]}
np.savez_compressed(Path(__file__).parent / "features.npz", **{name: np.asarray(a) for name, a in found.items()})
