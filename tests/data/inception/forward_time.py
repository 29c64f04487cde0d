"""Prints how long Inception takes on two cores beside the reference implementation in PyTorch, in turns.

PYTHONPATH=TORCH_FIDELITY:. python tests/data/inception/forward_time.py     # github.com/toshas/torch-fidelity
"""

import time

import jax
import numpy as np
import torch

from experiments.mesh import make_mesh, place
from models.convert import inception as files
from models.inception import Inception
from tests.data.inception.original import original
from tests.data.inception.seeds import torch_weights

BATCH, TURNS = 32, 7
jax.config.update("jax_num_cpu_devices", 2)
torch.set_num_threads(2)
weights = torch_weights()
images = np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8)
network = original(weights)[0].to(memory_format=torch.channels_last)
theirs = torch.tensor(images).permute(0, 3, 1, 2)
mesh = make_mesh()
params, ours = place(mesh, files.fold(weights, "torch")), place(mesh, images, batch=True)
forward = jax.jit(lambda params, x: Inception().apply({"params": params}, x))
jax.block_until_ready(forward(params, ours))
rows = []
for _ in range(TURNS):
    start = time.perf_counter()
    with torch.inference_mode():
        network(theirs)
    middle = time.perf_counter()
    jax.block_until_ready(forward(params, ours))
    rows.append((middle - start, time.perf_counter() - middle))
    print(f"PyTorch {rows[-1][0]:.2f} s, here {rows[-1][1]:.2f} s, ratio {rows[-1][1] / rows[-1][0]:.2f}", flush=True)
low, middle, high = np.percentile([b / a for a, b in rows], (25, 50, 75))
print(f"batch of {BATCH}, median ratio {middle:.2f} (quartiles {low:.2f} to {high:.2f})")
