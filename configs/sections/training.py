"""Training, and a look at what was trained."""

from dataclasses import dataclass

from configs.sections.fields import POSITIVE, above, at_least, between, key


@dataclass(frozen=True)
class Train:
    steps: int = key(20_000, "updates", POSITIVE)
    batch: int = key(128, "images per update", POSITIVE)
    chunk: int = key(50, "steps per jitted call; losses are logged per step, files written per chunk", POSITIVE)
    save_every: int = key(1000, "steps between checkpoints", POSITIVE)
    snapshots: int = key(
        0, "at how many steps, spaced logarithmically, the parameters are kept for `learning`", between(0, 100_000)
    )
    seed: int = key(0, "of parameters, batches and noise", at_least(0))
    init: str = key("", "parameters to start from: a file, or the folder of a run; empty: random ones")
    optimizer: str = key("adam", "adam | muon: fewer images for the same loss, at some 5 % more time per image")
    learning_rate: float = key(1e-3, "the largest", above(0, "raise it"))
    warmup: int = key(1000, "steps until the learning rate is reached", at_least(0))
    ema_images: float = key(500_000.0, "half-life of the parameter average, in images", above(0))
    label_dropout: float = key(0.5, "share of examples trained without their label", between(0, 1))
    p_mean: float = key(-1.2, "log-normal part of the training noise, in log sigma", between(-100, 100))
    p_std: float = key(1.2, "its standard deviation", above(0))
    uniform_share: float = key(
        0.3, "share of the noise drawn log-uniform over the sampling range instead", between(0, 1)
    )
    devices: int = key(0, "0: all; on a CPU with several cores two simulated devices are faster", at_least(0))
    classifier_epochs: float = key(10.0, "passes over the data for the feature network", above(0))


@dataclass(frozen=True)
class Health:
    count: int = key(64, "samples, and training images, that the network is looked at with", POSITIVE)
