"""AFHQv2, 64x64: the networks of EDM (Karras et al. 2022), with the solvers of configs/cifar10.py.

    python main.py --config=configs/afhqv2_64.py                                 # 64 images in 10 evaluations
    python main.py --config=configs/afhqv2_64.py --config.experiment=ems         # what DPM-Solver-v3 needs, once
    python main.py --config=configs/afhqv2_64.py --config.experiment=benchmark
    python main.py --config=configs/afhqv2_64.py --config.solver.name=Heun --config.nfe=79  # EDM's own sampler

Checkpoint, licence, range of time and solvers: configs/_edm.py. The first use downloads it into the cache. No labels.

    variant      checkpoint                          network, parameters used
    (none)       edm-afhqv2-64x64-uncond-vp.pkl      DDPM++, 61.8 million
    ve           edm-afhqv2-64x64-uncond-ve.pkl      NCSN++, 62.8 million
    smoke        as (none), smaller counts: to see that it runs; its numbers mean nothing

Cost: DDPM++ is some 0.25 GB in float32. The time of an evaluation was not measured.

Statistics: for this network neither statistics nor options of DPM-Solver-v3 are published. The options here are those
that its code takes for any network of EDM. The numbers of intervals and points are those of CIFAR-10 for 10 evaluations
and more. Points are samples of the network. For points from training images, give `--config.ems.rule=noised
--config.images=FOLDER` (files .npz with `images` uint8 [n, 64, 64, 3]).

What to expect: the column `published` has FIDs of the same solvers by Wang & Vastola 2024 (arXiv 2412.09726). They were
read off the heat map of their notebook, in the row without teleportation (github.com/Animadversio/edm; 50,000 samples,
EDM's statistics; there pixels are truncated to uint8, here they are rounded): Heun 13.85 and UniPC-3, bh2, 3.42 at 10
evaluations. EDM's own sampler has 1.96 at 79 evaluations, the smallest of three numbers of 50,000 samples each. That is
how it is commonly cited; it was not compared with the paper's table. Reference statistics:
https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/afhqv2-64x64.npz. FID is computed by
`--config.experiment=score --config.images=DIR`; `benchmark` measures distances to a fine solution.
"""

from configs import _edm, _released

FILES = {
    "": "edm-afhqv2-64x64-uncond-vp.pkl",
    "ve": "edm-afhqv2-64x64-uncond-ve.pkl",
    "smoke": "edm-afhqv2-64x64-uncond-vp.pkl",
}
VARIANTS = tuple(FILES)
NFES = (5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40)
HEUN = (266.48, 62.66, 28.10, 13.85, 7.75, 4.81, 2.74, 2.33, 2.14, 2.08, 2.04)
PUBLISHED = (
    ("Heun", dict(zip((*NFES, 79), (*HEUN, 1.96)))),
    ("DPM-Solver++(3M)", dict(zip(NFES, (17.66, 10.65, 4.18, 3.12, 2.61, 2.27, 2.10, 2.05, 2.03, 2.02, 2.01)))),
    ("UniPC-3, bh1", dict(zip(NFES, (12.91, 8.22, 4.61, 3.84, 2.77, 2.27, 2.07, 2.03, 2.01, 2.00, 2.00)))),
    ("UniPC-3, bh2", dict(zip(NFES, (17.33, 10.10, 4.04, 3.42, 2.64, 2.23, 2.07, 2.02, 2.01, 2.00, 2.00)))),
)


def get_config(variant: str = ""):
    c = _edm.start("afhqv2_64", variant, FILES, "afhqv2-64x64")
    if variant != "ve":
        c.published.metric, c.published.rows = "FID", PUBLISHED
        c.published.source = (
            "Wang & Vastola 2024, read off a heat map, 50,000 samples; Heun at 79 evaluations: Karras et al. 2022 as "
            "commonly cited, the least of three times 50,000 samples"
        )
    if variant == "smoke":
        _released.smoke(c)
    return c
