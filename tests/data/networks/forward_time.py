"""The time of EDM's CIFAR-10 DDPM++ here over that of the original in PyTorch, on the processors of this machine.

    PYTHONPATH=EDM:. python tests/data/networks/forward_time.py [BATCH]

needs PyTorch and EDM's code. Both have all cores: PyTorch as many threads, the other as many simulated devices.
"""

import os
import statistics
import sys
import time

import jax
import numpy as np
import torch
from training import networks

import models
from experiments.mesh import make_mesh, place

CORES = len(os.sched_getaffinity(0))
OPTIONS = {"model_type": "SongUNet", "model_channels": 128, "channel_mult": [2, 2, 2]}
REPEATS = 7


def original(x, sigma):
    torch.set_num_threads(CORES)
    net = networks.EDMPrecond(img_resolution=32, img_channels=3, **OPTIONS).eval()
    net, sigma = net.to(memory_format=torch.channels_last), torch.from_numpy(sigma)
    x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=torch.channels_last)

    def run():
        with torch.no_grad():
            net(x, sigma)

    return run


def here(x, sigma):
    net, mesh = models.SongUNet(multipliers=(2, 2, 2)), make_mesh(jax.devices())
    make = models.denoisers({"network": {"name": "song"}, "sigma_data": 0.5})
    params = place(mesh, models.init(net, 0, x.shape[1:]))
    arrays = place(mesh, (x, sigma, np.zeros(len(x), np.int32)), batch=True)
    denoise = jax.jit(lambda params, *args: make(params)(*args))
    return lambda: jax.block_until_ready(denoise(params, *arrays))


def main(batch: int = 16):
    jax.config.update("jax_num_cpu_devices", CORES)
    x = np.random.default_rng(0).standard_normal((batch, 32, 32, 3)).astype(np.float32)
    runs = {"PyTorch": original(x, np.ones(batch, np.float32)), "here": here(x, np.ones(batch, np.float32))}
    seconds = {name: [] for name in runs}
    for _ in range(REPEATS + 1):  # by turns; the first of each warms up
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    ratios = sorted(b / a for a, b in zip(*(values[1:] for values in seconds.values())))
    for name, values in seconds.items():
        print(f"{name}: {statistics.median(values[1:]):.2f} s a batch of {batch} on {CORES} cores")
    print(f"here over PyTorch: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
