"""What the configs of publishers' checkpoints have in common."""

from configs import check_variant, default

LOG_SNR = {"name": "lam_uniform"}
THIRD = {"order": 3, "lower_order_final": True, "grid": LOG_SNR}
V3 = {"name": "dpm_v3", "published": True, "predictor_pseudo": False, "corrector_pseudo": False}


def third_order(*more, **v3) -> tuple:
    """`benchmark.solvers` of the unconditional comparisons of Zheng et al. 2023: `more` entries, and options of
    DPM-Solver-v3, as their code has them for one kind of network.
    """
    return (
        ("DDIM", {"name": "ddim", "grid": LOG_SNR}),
        *more,
        ("DPM-Solver++(3M)", THIRD | {"name": "dpmpp", "variant": "dpmsolver"}),
        ("UniPC-3, bh1", THIRD | {"name": "unipc", "variant": "bh1"}),
        ("UniPC-3, bh2", THIRD | {"name": "unipc", "variant": "bh2"}),
        ("DPM-Solver-v3", THIRD | V3 | {"grid": LOG_SNR | {"snap_to": True}} | v3),
    )


def start(name: str, variant: str, known: tuple):
    """The config NAME.py:VARIANT begins with this: a grid of samples, with statistics where `ems` leaves them."""
    check_variant(name, variant, known)
    c = default.get_config()
    c.experiment = "sample"
    c.nfe = (5, 6, 8, 10)  # of which `sample` takes the largest
    c.benchmark.reference_nfe, c.benchmark.shown = 60, 8
    c.sample.count = 64
    c.ems.rule = "samples"  # the data are not at hand
    c.ems.path = f"runs/{'-'.join(filter(None, (name, variant)))}/ems/ems.npz"
    return c


def smoke(c) -> None:
    """Smaller counts, nothing else."""
    c.nfe = (5, 6)
    c.benchmark.reference_nfe, c.benchmark.shown = 12, 2
    c.sample.count, c.sample.batch, c.sample.block = 2, 2, 2
    c.ems.nodes, c.ems.points, c.ems.batch, c.ems.shard = 12, 4, 4, 4
