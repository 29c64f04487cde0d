"""What DPM-Solver-v3 depends on, on the embedded network.

python main.py --config=configs/ems_ablation.py:settings    # solvers and options
python main.py --config=configs/ems_ablation.py:guided      # the same at guidance 1.5, statistics by rule
python main.py --config=configs/ems_ablation.py             # statistics: points, levels, rule, basis, recipe
"""

from configs import check_variant, fashion_mnist

V3 = {"name": "dpm_v3", "grid": {"name": "karras", "rho": 12.0}}
OWN = {"path": ""}  # estimated here, not those of the assets
KARRAS = {"name": "karras", "rho": 7.0}
SETTINGS = {
    "2nd": {"order": 2, "corrector_pseudo": True},
    "2nd, 2M's weights": {"order": 2, "corrector_pseudo": True, "variant": "dpmsolver"},
    "3rd pseudo": {"predictor_pseudo": True, "corrector_pseudo": True},
    "3rd pseudo, 2M's weights": {"predictor_pseudo": True, "corrector_pseudo": True, "variant": "dpmsolver"},
}
PEERS = (
    ("DPM-Solver++(2M)", {}, {"name": "dpmpp", "order": 2}),
    ("DPM-Solver++(2M), Karras", {}, {"name": "dpmpp", "order": 2, "grid": KARRAS}),
    ("UniPC-2, Karras", {}, {"name": "unipc", "order": 2, "grid": KARRAS}),
    ("UniPC-3", {}, {"name": "unipc", "order": 3}),
    ("iPNDM-3, Karras", {}, {"name": "ipndm", "order": 3, "grid": KARRAS}),
    ("iPNDM-4, Karras 12", {}, {"name": "ipndm", "order": 4, "grid": {"name": "karras", "rho": 12.0}}),
)
SMALL = {"path": "", "points": 256}
STATISTICS = (
    ("256 points", SMALL, V3),
    ("1024 points", OWN, V3),
    ("4096 points", OWN | {"points": 4096}, V3),
    ("60 intervals, 256 points", SMALL | {"nodes": 60}, V3),
    ("480 intervals, 256 points", SMALL | {"nodes": 480}, V3),
    ("noised samples, 512", OWN | {"rule": "samples", "points": 512}, V3),
    ("trajectories", OWN | {"rule": "trajectory"}, V3),
    ("cosines, 256 points", SMALL | {"basis": "dct"}, V3),
    ("principal components, 256 points", SMALL | {"basis": "pca"}, V3),
    ("l' over 11 levels", OWN | {"window": 11}, V3),
    ("no ridge", OWN | {"ridge": 0.0}, V3),
    ("ridge 0.1", OWN | {"ridge": 0.1}, V3),
    ("|s| up to 0.5", OWN | {"cap": 0.5}, V3),
    ("s shrunk by 4 errors", OWN | {"shrink": 16.0}, V3),
    ("s times its R^2", OWN | {"r2": 1.0}, V3),
    ("Gaussians of the classes, 256 points", SMALL | {"model": "gaussian"}, V3),
    ("the same above sigma 5", SMALL | {"gaussian_above": 5.0}, V3),
    ("linear between levels", OWN, V3 | {"interpolation": "linear"}),
    ("published integrals", OWN, V3 | SETTINGS["3rd pseudo, 2M's weights"] | {"published": True}),
    ("l = 1, s = b = 0", OWN, V3 | SETTINGS["3rd pseudo, 2M's weights"] | {"degenerate": True}),
)
GUIDED = (
    *(row for row in PEERS if "Karras" in row[0]),
    ("v3 of the unguided model, noised", {"accept": True}, V3 | SETTINGS["2nd, 2M's weights"]),
    ("v3, noised", SMALL | {"rule": "noised"}, V3),
    ("v3, trajectories", SMALL | {"rule": "trajectory"}, V3),
    ("v3, trajectories, 2nd", SMALL | {"rule": "trajectory"}, V3 | SETTINGS["2nd"]),
    ("v3, trajectories, 3rd", SMALL | {"rule": "trajectory"}, V3 | SETTINGS["3rd pseudo, 2M's weights"]),
)


def get_config(variant: str = ""):
    check_variant("ems_ablation", variant, ("settings", "guided", "smoke"))
    c = fashion_mnist.get_config("smoke" if variant == "smoke" else "")
    c.experiment = "ems_ablation"
    c.ablation.rows = STATISTICS
    if variant == "smoke":
        c.ablation.rows = (
            PEERS[0],
            ("v3", OWN | {"points": 8}, V3),
            ("v3, cosines", OWN | {"points": 8, "basis": "dct"}, V3),
        )
        return c
    c.nfe = (5, 6, 8, 10, 15, 20)
    c.sample.count = 256 if variant == "settings" else 128
    if variant == "settings":
        v3 = [(f"v3, {label}", {}, V3 | options) for label, options in SETTINGS.items()]
        lam = [(f"v3, {label}, lam", {}, {"name": "dpm_v3"} | options) for label, options in SETTINGS.items()]
        c.ablation.rows = (*PEERS, *v3, *lam)
    if variant == "guided":
        c.guidance.scale, c.ablation.rows = 1.5, GUIDED
    return c
