"""Few-step sampling of a small class-conditional network trained on Fashion-MNIST (60,000 images, 28x28).

    python main.py --config=configs/fashion_mnist.py

Needs no data set and no network connection: the parameters (EDM preconditioning, 28x28x1, see
assets/fashion_mnist/provenance.json), the model's EMS, the feature network and the moments of the training set are
embedded. All solvers run from sigma = 80 to 0.002 from the same noise. The reference is UniPC of order 3 with
`benchmark.reference_nfe` evaluations. Orders and grids are those that measured best for each solver. DPM-Solver-v3 has
its default options (configs/ems_ablation.py:settings).

`frechet` is the Fréchet distance in the features of a small classifier of this data set: not the Inception FID.

Variant `smoke`: everything in seconds, to see that it runs; its numbers mean nothing.
"""

from configs import check_variant, default

ASSETS = "assets/fashion_mnist"


def get_config(variant: str = ""):
    check_variant("fashion_mnist", variant, ("smoke",))
    c = default.get_config()
    c.model.checkpoint = f"{ASSETS}/params.npz"
    c.ems.path = f"{ASSETS}/ems.npz"
    c.classifier = f"{ASSETS}/classifier.npz"
    c.reference = f"{ASSETS}/reference.npz"
    c.teleport.gaussian = f"{ASSETS}/gaussian.npz"
    c.gaussian.kind, c.gaussian.rank, c.gaussian.dtype = "classes", 64, "float32"
    c.nfe = (5, 6, 8, 10)
    c.benchmark.solvers = (
        ("DDIM", {"name": "ddim"}),
        ("DPM-Solver++(2M)", {"name": "dpmpp", "order": 2}),
        ("UniPC", {"name": "unipc", "order": 3}),
        ("iPNDM", {"name": "ipndm", "order": 3, "grid": {"name": "karras"}}),
        ("DPM-Solver-v3", {"name": "dpm_v3", "grid": {"name": "karras", "rho": 12.0}}),
        ("teleport", {"name": "teleport"}),
    )
    c.benchmark.reference_nfe = 60
    c.sample.count = 512
    c.model.channels, c.model.multipliers, c.model.blocks = 32, (1, 2), 2
    c.model.labels = "all"
    c.train.steps, c.train.batch, c.train.warmup = 12_000, 64, 500
    c.train.learning_rate, c.train.ema_images = 2e-3, 50_000
    c.train.label_dropout, c.train.uniform_share = 0.2, 0.25
    c.train.save_every, c.train.chunk = 250, 10
    c.train.classifier_epochs = 8.0
    if variant == "smoke":
        smoke(c)
    return c


def smoke(c):
    c.nfe = (5, 6)
    c.benchmark.reference_nfe = 12
    c.benchmark.shown = 4
    c.sample.count, c.sample.batch, c.sample.block = 16, 8, 8
    c.ems.nodes, c.ems.points, c.ems.batch, c.ems.shard = 8, 8, 8, 4
    c.speed.batch, c.speed.repeats = 8, 3
    c.throughput.batches, c.throughput.repeats = (8, 16), 2
    c.throughput.count, c.throughput.segment = 32, 16
    c.trajectories.count, c.trajectories.levels, c.trajectories.shown = 8, 9, 4
    c.model.channels, c.model.blocks = 16, 1
    c.train.steps, c.train.batch, c.train.chunk = 4, 8, 2
    c.train.save_every, c.train.warmup, c.train.classifier_epochs = 2, 1, 0.02
