"""The exact error of each solver on Gaussian data, for each variance: this needs a solver's table and no network.

    python main.py --config=configs/spectrum.py
    python main.py --config=configs/spectrum.py --config.schedule.name=vp

A mode of variance v is as large as the noise where sigma / alpha = sqrt(v). How well a solver passes that point depends
on its steps, and on v / sigma^2 at both ends. The eigenvalues of the pixel covariance of Fashion-MNIST are marked
(`reference`; empty for none). DPM-Solver-v3 has the closed-form statistics of the Gaussian; `ems` of its entries says
in which basis, see experiments/checks/spectrum.py. Takes some seconds.

Variant `smoke`: fewer variances and one number of evaluations.
"""

from configs import check_variant, convergence, default


def get_config(variant: str = ""):
    check_variant("spectrum", variant, ("smoke",))
    c = default.get_config()
    c.experiment = "spectrum"
    c.nfe = (5, 6, 8, 10)
    c.reference = "assets/fashion_mnist/reference.npz"
    c.benchmark.solvers = (
        *((label, options) for label, options in convergence.SOLVERS if options["name"] != "dpm_v3"),
        ("DPM-Solver-v3 in pixels", {"name": "dpm_v3", "order": 3, "ems": "pixels"}),
        ("DPM-Solver-v3 per mode", {"name": "dpm_v3", "order": 3, "ems": "modes"}),
    )
    if variant == "smoke":
        c.nfe = (6,)
        c.spectrum.variances = (1e-4, 10.0, 13)
    return c
