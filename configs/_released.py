"""What the configs of publishers' checkpoints have in common."""

from configs import default


def start(name: str, variant: str, known: tuple):
    """The config NAME.py:VARIANT begins with this: a grid of samples, with statistics where `ems` leaves them."""
    if variant not in ("", *known):
        raise ValueError(f"unknown variant {variant!r} of configs/{name}.py: known are {', '.join(known)}")
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
