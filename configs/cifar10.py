"""CIFAR-10, 32x32: the networks of EDM (Karras et al. 2022), and the solvers that Zheng et al. 2023 compared on them.

    python main.py --config=configs/cifar10.py                                   # 64 images in 10 evaluations
    python main.py --config=configs/cifar10.py --config.experiment=ems           # what DPM-Solver-v3 needs, once
    python main.py --config=configs/cifar10.py --config.experiment=benchmark --config.nfe=5,6,8,10,12,15,20,25
    python main.py --config=configs/cifar10.py --config.solver.name=DPM-Solver-v3 --config.nfe=5

Checkpoint, licence, range of time and solvers: configs/_edm.py. The first use downloads it into the cache.

    variant      checkpoint                          network, parameters used     labels
    (none)       edm-cifar10-32x32-uncond-vp.pkl     DDPM++, 55.7 million         none
    cond         edm-cifar10-32x32-cond-vp.pkl       DDPM++                       i mod 10 of sample i
    ve           edm-cifar10-32x32-uncond-ve.pkl     NCSN++, 56.4 million         none
    cond-ve      edm-cifar10-32x32-cond-ve.pkl       NCSN++                       i mod 10
    jcm          edm_cifar10_ema                     NCSN++                       none
    smoke        as (none), smaller counts: to see that it runs; its numbers mean nothing

`jcm` is the network that OpenAI trained by EDM's recipe for Consistency Models (Song et al. 2023): a Flax checkpoint,
github.com/openai/consistency_models_cifar10, code Apache 2.0; its model card says for research only.

Cost: DDPM++ is some 0.22 GB in float32. On two CPU cores an evaluation of 16 images takes 3.6 s: 64 images in 10
evaluations two and a half minutes, `benchmark` as it stands an hour. Statistics are for an accelerator: 4096 points at
121 noise levels are 31 hours of plain evaluations on those cores, and a point takes several. Published: 3.5 hours on
eight A40 for both files below.

Statistics: points are samples of the network itself, because the data set is not at hand. The published statistics are
of the training set: `--config.ems.rule=noised --config.images=FOLDER` (files .npz with `images` uint8 [n, 32, 32, 3];
not for `cond`, because these images have no labels). Published for 10 evaluations and more are 120 intervals of 4096
points, the defaults here; for fewer evaluations 1200 intervals of 1024 points: `--config.ems.nodes=1200
--config.ems.points=1024 --workdir=FOLDER`, used with `--config.ems.path=FOLDER/ems.npz`.

What to expect: the column `published` has the FID of Zheng et al. 2023, table 1 (50,000 samples; Inception of TF-Hub
tfgan, cifar10_stats.npz of ScoreSDE; pixels truncated to uint8, where here they are rounded): DPM-Solver-v3 12.21 at 5
evaluations, 2.51 at 10. EDM's own: 1.97 at 35 (cond: 1.79), the least of three times 50,000 samples, reference
statistics https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/cifar10-32x32.npz. FID is computed by
`--config.experiment=score --config.images=DIR`; `benchmark` measures distances to a fine solution.
"""

from configs import _edm, _released

JCM = "https://openaipublic.blob.core.windows.net/consistency/jcm_checkpoints/edm_cifar10_ema"
FILES = {
    "": "edm-cifar10-32x32-uncond-vp.pkl",
    "cond": "edm-cifar10-32x32-cond-vp.pkl",
    "ve": "edm-cifar10-32x32-uncond-ve.pkl",
    "cond-ve": "edm-cifar10-32x32-cond-ve.pkl",
    "jcm": "",
    "smoke": "edm-cifar10-32x32-uncond-vp.pkl",
}
VARIANTS = tuple(FILES)
NFES = (5, 6, 8, 10, 12, 15, 20, 25)
UNIPC = dict(zip(NFES, (23.52, 11.10, 3.86, 2.85, 2.38, 2.08, 2.01, 2.00)))
PUBLISHED = (
    ("Heun", dict(zip((*NFES, 35), (320.80, 103.86, 39.66, 16.57, 7.59, 4.76, 2.51, 2.12, 1.97)))),
    ("DPM-Solver++(3M)", dict(zip(NFES, (24.54, 11.85, 4.36, 2.91, 2.45, 2.17, 2.05, 2.02)))),
    ("UniPC-3, bh1", UNIPC),
    ("UniPC-3, bh2", UNIPC),
    ("DPM-Solver-v3", dict(zip(NFES, (12.21, 8.56, 3.50, 2.51, 2.24, 2.10, 2.02, 2.00)))),
)
EDM_SOURCE = "Karras et al. 2022, the least of three times 50,000 samples"
SOURCE = (
    "Zheng et al. 2023, table 1, 50,000 samples; UniPC: the better of bh1 and bh2 has this number; "
    f"Heun at 35 evaluations: {EDM_SOURCE}"
)


def get_config(variant: str = ""):
    c = _edm.start("cifar10", variant, FILES, "cifar10-32x32")
    if variant in ("", "smoke"):
        c.published.metric, c.published.source, c.published.rows = "FID", SOURCE, PUBLISHED
    if variant == "cond":
        c.published.metric, c.published.source, c.published.rows = "FID", EDM_SOURCE, (("Heun", {35: 1.79}),)
    if variant in ("cond", "cond-ve"):
        c.model.labels = "all"
    if variant == "jcm":
        c.model.address, c.model.release = JCM, "consistency_edm_flax"
    if variant == "smoke":
        _released.smoke(c)
    return c
