"""The benchmark where the exact answer is known: a Gaussian mixture in the plane.

    python main.py --config=configs/toy_gmm.py

The model is the closed-form denoiser of the mixture, so all error is the solver's. The reference solution is an
adaptive Runge-Kutta integration in float64 with relative tolerance 1e-9. The statistics for DPM-Solver-v3 are
estimated from samples of the mixture at the first run, and kept in the workdir. grid.png shows the samples.
Takes some ten seconds on two cores.

Variant `smoke`: a tenth of the samples.
"""

from configs import check_variant, default


def get_config(variant: str = ""):
    check_variant("toy_gmm", variant, ("smoke",))
    c = default.get_config()
    c.model.name = "mixture"
    c.nfe = (5, 6, 8, 10, 15, 20)
    c.benchmark.solvers = (
        ("DDIM", {"name": "ddim"}),
        ("DPM-Solver++(2M)", {"name": "dpmpp", "order": 2}),
        ("UniPC", {"name": "unipc", "order": 3}),
        ("iPNDM", {"name": "ipndm", "grid": {"name": "karras"}}),
        ("DPM-Solver-v3", {"name": "dpm_v3", "order": 3}),
    )
    c.sample.count, c.sample.batch = 1000, 500
    c.ems.points, c.ems.batch = 4096, 4096
    if variant == "smoke":
        c.nfe = (5, 8)
        c.sample.count, c.sample.batch = 32, 16
        c.ems.nodes, c.ems.points, c.ems.batch = 60, 256, 256
    return c
