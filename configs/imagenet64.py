"""ImageNet, 64x64, class-conditional: the ADM network of EDM (Karras et al. 2022), with the solvers of cifar10.py.

    python main.py --config=configs/imagenet64.py                                # 64 images in 10 evaluations
    python main.py --config=configs/imagenet64.py:stochastic                     # EDM's own sampler, 511 evaluations
    python main.py --config=configs/imagenet64.py --config.experiment=ems        # what DPM-Solver-v3 needs, once
    python main.py --config=configs/imagenet64.py --config.experiment=benchmark

Checkpoint, licence, range of time and solvers: configs/_edm.py. The first use downloads it into the cache: it is
edm-imagenet-64x64-cond-adm.pkl, 295.9 million parameters. Sample i is of a random class of the 1000, its own.

Variant `stochastic`: Algorithm 2 of EDM with its settings for this network, churn 40 in [0.05, 50], noise 1.003, 256
steps. Variant `smoke`: smaller counts, to see that it runs; its numbers mean nothing.

Cost: the network is 1.2 GB in float32. It was trained and published in float16. Here it runs in float32, or with
`--config.model.dtype=bfloat16` in the format of accelerators. The time of an evaluation was not measured.

Statistics: for this network neither statistics nor options of DPM-Solver-v3 are published. The options here are those
that its code takes for any network of EDM. The numbers of intervals and points are those of CIFAR-10 for 10 evaluations
and more. Points are samples of the network, each with its own class; a folder of images could not be used, because its
images have no labels.

What to expect: only EDM's FID is published, 1.36 at 511 evaluations of `stochastic`, the smallest of three numbers of
50,000 samples each. Reference statistics: https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/imagenet-64x64.npz. FID is
computed by
`--config.experiment=score --config.images=DIR`; `benchmark` measures distances to a fine solution.
"""

from configs import _edm, _released

FILES = dict.fromkeys(("", "stochastic", "smoke"), "edm-imagenet-64x64-cond-adm.pkl")
VARIANTS = tuple(FILES)
CHURN = {"s_churn": 40.0, "s_min": 0.05, "s_max": 50.0, "s_noise": 1.003}


def get_config(variant: str = ""):
    c = _edm.start("imagenet64", variant, FILES, "imagenet-64x64")
    c.model.labels = "random"
    if variant == "stochastic":
        c.solver.name, c.nfe = "EDM, stochastic", (511,)
        c.benchmark.solvers = (
            (c.solver.name, {"name": "edm_stochastic", "grid": {"name": "karras", "rho": 7.0}} | CHURN),
        )
        c.published.metric, c.published.rows = "FID", ((c.solver.name, {511: 1.36}),)
        c.published.source = "Karras et al. 2022, the least of three times 50,000 samples"
    if variant == "smoke":
        _released.smoke(c)
    return c
