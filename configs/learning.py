"""What the network of configs/fashion_mnist.py learns first: closed forms beside snapshots of its training.

    python main.py --config=configs/fashion_mnist.py --config.experiment=train --config.train.snapshots=40 \
        --workdir=runs/snapshots
    python main.py --config=configs/learning.py --config.learning.run=runs/snapshots

The second command may run while the first goes on, and again when it is done: it measures new snapshots only (8 to 30
seconds each on two cores). Published for MNIST (mini-EDM, 25,000 steps of 128 images, 32x32; score, training images),
at sigma = 0.1 / 0.5 / 2: the share that the Gaussian explains is largest at step 4,500 / 3,500 / 3,000, with 0.768 /
0.929 / 0.991, and ends at 0.752 / 0.924 / 0.987. There the data themselves explain 0.919 / 0.970 / 0.990.

Variant `smoke`: few images, to see that it runs.
"""

from configs import check_variant, fashion_mnist


def get_config(variant: str = ""):
    check_variant("learning", variant, ("smoke",))
    c = fashion_mnist.get_config(variant)
    c.experiment = "learning"
    c.model.labels = "none"
    if variant == "smoke":
        c.learning.images, c.learning.components, c.learning.rank = 8, 2, 8
        c.learning.sigmas = (0.5, 2.0)
    return c
