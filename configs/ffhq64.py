"""FFHQ, 64x64: the networks of EDM (Karras et al. 2022), with the solvers of configs/cifar10.py.

    python main.py --config=configs/ffhq64.py                                    # 64 images in 10 evaluations
    python main.py --config=configs/ffhq64.py --config.experiment=ems            # what DPM-Solver-v3 needs, once
    python main.py --config=configs/ffhq64.py --config.experiment=benchmark
    python main.py --config=configs/ffhq64.py --config.solver.name=Heun --config.nfe=79     # EDM's own sampler

Checkpoint, licence, range of time and solvers: configs/_edm.py. The first use downloads it into the cache. No labels.

    variant      checkpoint                          network, parameters used
    (none)       edm-ffhq-64x64-uncond-vp.pkl        DDPM++, 61.8 million
    ve           edm-ffhq-64x64-uncond-ve.pkl        NCSN++, 62.8 million
    smoke        as (none), smaller counts: to see that it runs; its numbers mean nothing

Cost: DDPM++ is some 0.25 GB in float32. The time of an evaluation was not measured.

Statistics: for this network neither statistics nor options of DPM-Solver-v3 are published. The options here are those
that its code takes for any network of EDM. The numbers of intervals and points are those of CIFAR-10 for 10 evaluations
and more. Points are samples of the network. For points from training images, give `--config.ems.rule=noised
--config.images=FOLDER` (files .npz with `images` uint8 [n, 64, 64, 3]).

What to expect: only EDM's FID is published, 2.39 at 79 evaluations, the smallest of three numbers of 50,000 samples
each. That is how it is commonly cited; it was not compared with the paper's table. Reference statistics:
https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/ffhq-64x64.npz. FID is computed by
`--config.experiment=score --config.images=DIR`; `benchmark` measures distances to a fine solution.
"""

from configs import _edm, _released

FILES = {
    "": "edm-ffhq-64x64-uncond-vp.pkl",
    "ve": "edm-ffhq-64x64-uncond-ve.pkl",
    "smoke": "edm-ffhq-64x64-uncond-vp.pkl",
}
VARIANTS = tuple(FILES)


def get_config(variant: str = ""):
    c = _edm.start("ffhq64", variant, FILES, "ffhq-64x64")
    if variant != "ve":
        c.published.metric, c.published.rows = "FID", (("Heun", {79: 2.39}),)
        c.published.source = "Karras et al. 2022 as commonly cited, the least of three times 50,000 samples"
    if variant == "smoke":
        _released.smoke(c)
    return c
