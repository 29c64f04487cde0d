"""What the network of configs/fashion_mnist.py learns first: closed forms beside snapshots of its training.

    python main.py --config=configs/fashion_mnist.py --config.experiment=train --config.train.snapshots=40 \
        --workdir=runs/snapshots
    python main.py --config=configs/learning.py --config.learning.run=runs/snapshots

Variant `smoke`: few images, to see that it runs.
"""

from configs import fashion_mnist


def get_config(variant: str = ""):
    if variant not in ("", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/learning.py: known is smoke")
    c = fashion_mnist.get_config(variant)
    c.experiment = "learning"
    c.model.labels = "none"
    if variant == "smoke":
        c.learning.images, c.learning.components, c.learning.rank = 8, 2, 8
        c.learning.sigmas = (0.5, 2.0)
    return c
