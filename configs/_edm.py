"""What the configs of EDM's checkpoints have in common (Karras et al. 2022, arXiv 2206.00364; github.com/NVlabs/edm).

Source and licence of the checkpoints: NVIDIA, CC BY-NC-SA 4.0, "all material, including source code and pre-trained
models". A file names its own network and preconditioning; they are read without executing anything in it. Networks were
published in float32, except ImageNet's; `--config.model.dtype=bfloat16` is for accelerators.

Time runs from sigma = 80 to 0.002, as in both papers. `solvers` are those of the published comparison (Zheng et al.
2023, arXiv 2310.13268, table 1), with the options of its code for networks of EDM: codebases/edm/{sample.sh,sample.py}
of github.com/thu-ml/DPM-Solver-v3. Its Heun has steps // 2 intervals, and a step to sigma = 0 where steps are odd: at
35 and 79 evaluations that is EDM's own sampler. The times of DPM-Solver-v3 snap to the nodes of its statistics.
"""

from configs import _released

PUBLISHER = "https://nvlabs-fi-cdn.nvidia.com/edm"
SOLVERS = _released.third_order(
    ("Heun", {"name": "heun", "grid": {"name": "karras", "rho": 7.0}}),
    corrector=False,
    at_nfe={nfe: {"predictor_pseudo": True, "corrector": True} for nfe in (1, 2, 3, 4, 5)} | {6: {"corrector": True}},
)


def start(name: str, variant: str, files: dict, data: str):
    """A config for the checkpoint `files[variant]`, beside the moments of the features of `data`."""
    c = _released.start(name, variant, tuple(filter(None, files)))
    c.model.address = f"{PUBLISHER}/pretrained/{files[variant]}"
    c.reference = f"{PUBLISHER}/fid-refs/{data}.npz"
    c.schedule.name, c.grid.t_start, c.grid.t_end = "edm", 80.0, 0.002
    c.benchmark.solvers = SOLVERS
    c.ems.nodes, c.ems.points = 120, 4096
    return c
