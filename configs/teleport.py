"""What skipping the first part of sampling in closed form saves, on the embedded network.

python main.py --config=configs/teleport.py          # heat maps: solver x evaluations x sigma, with the published ones
python main.py --config=configs/teleport.py:heun     # EDM's Heun, 18 intervals, k of them skipped; three seeds
python main.py --config=configs/teleport.py:best     # 5 to 8 evaluations, three seeds: what solvers/recipes.py rests on
python main.py --config=configs/teleport.py:more     # 10 to 20 evaluations, one seed, the same

The solvers and grids of the heat maps are those of the published ones. Variant smoke: seconds, at toy size.
"""

from configs import check_variant, fashion_mnist

KARRAS = {"name": "karras", "rho": 7.0}
AS_PUBLISHED = (
    ("DPM-Solver-v3", {"name": "dpm_v3", "published": True}),
    ("DPM-Solver++(3M)", {"name": "dpmpp", "order": 3}),
    ("UniPC-3, bh1", {"name": "unipc", "order": 3, "variant": "bh1"}),
    ("UniPC-3, bh2", {"name": "unipc", "order": 3, "variant": "bh2"}),
    ("Heun", {"name": "heun", "grid": KARRAS}),
)
OWN = (
    ("iPNDM-3, Karras", {"name": "ipndm", "order": 3, "grid": KARRAS}),
    ("iPNDM-3, Karras 5", {"name": "ipndm", "order": 3, "grid": KARRAS | {"rho": 5.0}}),
    ("UniPC-2, Karras", {"name": "unipc", "order": 2, "grid": KARRAS}),
    ("UniPC-3, lam", {"name": "unipc", "order": 3}),
    ("v3, Karras 12", {"name": "dpm_v3", "grid": KARRAS | {"rho": 12.0}}),
    ("v3, Karras", {"name": "dpm_v3", "grid": KARRAS}),
    ("v3, Karras 5", {"name": "dpm_v3", "grid": KARRAS | {"rho": 5.0}}),
)
VARIANTS = ("", "heun", "best", "more", "smoke")


def get_config(variant: str = ""):
    check_variant("teleport", variant, VARIANTS[1:])
    c = fashion_mnist.get_config("smoke" if variant == "smoke" else "")
    c.experiment = "teleport"
    c.sample.count = 512
    c.nfe, c.benchmark.solvers = (5, 6, 8, 10, 15), (*AS_PUBLISHED, OWN[0], OWN[2], OWN[5])
    if variant in ("heun", "best"):
        c.teleport.seeds = (0, 1, 2)
    if variant == "heun":
        c.teleport.intervals, c.benchmark.solvers = 18, ()
    if variant == "best":
        c.nfe, c.benchmark.solvers, c.teleport.sigmas = (5, 6, 8), OWN, (20.0, 14.0, 10.0, 7.0)
    if variant == "more":
        c.sample.count, c.nfe, c.teleport.sigmas = 256, (10, 15, 20), (40.0, 28.0, 20.0, 14.0)
        c.benchmark.solvers = (
            OWN[1],
            ("iPNDM-4, Karras 12", {"name": "ipndm", "order": 4, "grid": KARRAS | {"rho": 12.0}}),
            *OWN[4:],
        )
    if variant == "smoke":
        c.sample.count, c.nfe, c.benchmark.solvers = 16, (5, 6), AS_PUBLISHED[1:3]
        c.teleport.sigmas, c.teleport.seeds, c.teleport.intervals, c.teleport.skips = (40.0, 5.0), (0, 1), 4, (0, 1)
    return c
