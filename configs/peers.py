"""This project's sampling beside diffusers, k-diffusion, the official code of DPM-Solver-v3, and EDM in PyTorch.

    python main.py --config=configs/peers.py
    python main.py --config=configs/peers.py --config.peers.dpm_v3=DPM-Solver-v3 --config.peers.edm=edm

It measures the overhead per step above the bare network at four shapes of the state, the cost of tables and
constructors, memory, and the whole sampling of the CIFAR-10 DDPM++ at full width. Whatever of the others is installed
takes part (PyTorch, `pip install diffusers k-diffusion`, checkouts of github.com/thu-ml/DPM-Solver-v3 and
github.com/NVlabs/edm); none is needed. experiments/peers/beside.py says how it is measured. Some ten minutes on two
cores or on a GPU.

Variant `smoke`: small shapes and a small network, to see that it runs; its numbers mean nothing.
"""

from configs import check_variant, default


def get_config(variant: str = ""):
    check_variant("peers", variant, ("smoke",))
    c = default.get_config()
    c.experiment = "peers"
    if variant == "smoke":
        c.peers.shapes = "4x8x8x3, 3x20"
        c.peers.steps, c.peers.nodes, c.peers.repeats = 4, 4, 3
        c.peers.nfe, c.peers.batch, c.peers.network_repeats = 2, 4, 2
        c.peers.channels, c.peers.blocks = 32, 1
    return c
