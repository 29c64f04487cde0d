"""How fast the error of each solver falls: a mixture of 10 Gaussians in 192 dimensions, EDM and VP, float64.

    python main.py --config=configs/convergence.py

The model is the closed-form denoiser. The exact solution is an adaptive Runge-Kutta integration with relative tolerance
1e-11. So all error is the solver's. The error of a solver of order p falls with slope -p. With `lower_order_final` the
last step is of order 1, and its error falls only with the square of its length. Heun's method spends an odd evaluation
on a step to sigma = 0; it is compared at t_end all the same, where its error is far above sigma. Takes about a minute.

`--config.oracle=DIR` runs the methods of a directory of official numbers instead and compares: 988 numbers of two
schedules at eight budgets agree to 4.7e-5, which is the rounding of the five digits that the directory has.

Variant `smoke`: few samples of 12 dimensions, in seconds.
"""

from configs import check_variant, default

KARRAS = {"grid": {"name": "karras"}}  # where methods on eps are usually run; the others on the default, lam_uniform
SOLVERS = (
    ("DDIM", {"name": "ddim"}),
    ("DPM-Solver(2M)", {"name": "dpm_solver", "order": 2}),
    ("DPM-Solver(3M)", {"name": "dpm_solver", "order": 3}),
    ("DPM-Solver(3S)", {"name": "dpm_solver_singlestep", "order": 3}),
    ("DPM-Solver++(2M)", {"name": "dpmpp", "order": 2}),
    ("DPM-Solver++(3M)", {"name": "dpmpp", "order": 3}),
    ("DPM-Solver++(3M), exact", {"name": "dpmpp", "order": 3, "variant": "exact"}),
    ("DPM-Solver++(2S)", {"name": "dpmpp_singlestep", "order": 2}),
    ("DPM-Solver++(3S)", {"name": "dpmpp_singlestep", "order": 3}),
    ("UniPC-2", {"name": "unipc", "order": 2}),
    ("UniPC-3", {"name": "unipc", "order": 3}),
    ("UniPC-3, bh1", {"name": "unipc", "order": 3, "variant": "bh1"}),
    ("UniPC-3, vary_coeff", {"name": "unipc", "order": 3, "variant": "vary_coeff"}),
    ("UniPC-3, exact", {"name": "unipc", "order": 3, "variant": "exact"}),
    ("DEIS-tAB3", {"name": "deis", **KARRAS}),
    ("iPNDM-4", {"name": "ipndm", **KARRAS}),
    ("iPNDM_v-4", {"name": "ipndm", "variant": "variable", **KARRAS}),
    ("LMS-4", {"name": "lms", **KARRAS}),
    ("PLMS-4", {"name": "plms", **KARRAS}),
    ("Heun", {"name": "edm_heun", **KARRAS}),
    ("DPM-Solver-v3", {"name": "dpm_v3", "order": 3}),
    ("DPM-Solver-v3, 2 + pseudo 3", {"name": "dpm_v3", "order": 2, "corrector_pseudo": True}),
    ("DPM-Solver-v3, default", {"name": "dpm_v3", **KARRAS}),
)


def get_config(variant: str = ""):
    check_variant("convergence", variant, ("smoke",))
    c = default.get_config()
    c.experiment = "convergence"
    c.nfe = (5, 6, 8, 10, 14, 20, 40)
    c.model.name = "mixture"
    c.mixture.shape, c.mixture.components = (8, 8, 3), 10
    c.mixture.radius, c.mixture.deviations = 8.0, (0.05, 0.5)
    c.sample.count = 64
    c.ems.points, c.ems.batch = 256, 256
    c.benchmark.solvers = SOLVERS
    if variant == "smoke":
        c.nfe = (6, 12)
        c.mixture.shape, c.mixture.components = (2, 2, 3), 3
        c.sample.count, c.ems.nodes, c.ems.points, c.ems.batch = 4, 20, 64, 64
    return c
