"""How Gaussian is a trained score? Closed-form scores beside the embedded network, by noise level (arXiv 2412.09726).

    python main.py --config=configs/score_analysis.py

The closed forms are: isotropic, Gaussian (also of low rank, and expanded in its covariance), mixtures by class and by
k-means, and the training data themselves ("delta"). They are compared at the published noise levels, on 1,024 noised
training images and as many noised test images; the published protocol takes training images only, which the delta score
has seen. The network is used without labels. A mixture of k components keeps 12,800 / k directions of each component
(`directions`; all of them up to k = 10), and the mean variance of the others.

Needs Fashion-MNIST (the system's package, or a download). Takes 4 minutes on two cores. What is done is kept in
`parts/`, and a run that was stopped goes on from there.

Writes results.csv (every number, with the published ones of MNIST and CIFAR10 in columns of their own), results.json,
scores.png, sweeps.png and table.png.

Variant `smoke`: few images and noise levels, to see that it runs.
"""

from configs import check_variant, fashion_mnist


def get_config(variant: str = ""):
    check_variant("score_analysis", variant, ("smoke",))
    c = fashion_mnist.get_config(variant)
    c.experiment = "score_analysis"
    c.model.labels = "none"
    if variant == "smoke":
        c.sample.batch = c.score_analysis.images = 8
        c.score_analysis.sigmas = (0.5, 5.0)
        c.score_analysis.ranks, c.score_analysis.mixture_ranks = (8, 784), (4,)
        c.score_analysis.components, c.score_analysis.directions = (2, 3), 24
    return c
