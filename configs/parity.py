"""All cases of a directory of official numbers, in the format that experiments/checks/oracle.py describes.

    python main.py --config=configs/parity.py --config.oracle=DIR

There are 1,667 cases, by the samplers of DPM-Solver-v3, UniPC, diff-sampler, k-diffusion, EDM and Stable Diffusion.
1,657 of them run here and agree within 1e-9 of the largest value (the worst: 3e-11), except 6 of DEIS, whose official
integrals are good to 6e-7 only. The other 10 have an adaptive step size. Takes about 40 s on two cores.
"""

from configs import default


def get_config():
    c = default.get_config()
    c.experiment = "parity"
    return c
