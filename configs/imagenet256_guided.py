"""ImageNet, 256x256: the network of guided diffusion (Dhariwal & Nichol 2021), guided by its classifier at scale 2.

    python main.py --config=configs/imagenet256_guided.py                        # 16 images in 10 evaluations
    python main.py --config=configs/imagenet256_guided.py --config.experiment=ems --config.guidance.scale=0
    python main.py --config=configs/imagenet256_guided.py --config.experiment=benchmark
    python main.py --config=configs/imagenet256_guided.py --config.solver.name=DPM-Solver-v3 --config.nfe=5

Checkpoints: 256x256_diffusion.pt, class-conditional, and 256x256_classifier.pt, github.com/openai/guided-diffusion,
MIT; the model card says for research only. The first use downloads them into the cache. 553.8 and 54.1 million
parameters, 2.2 and 0.2 GB in float32. Published in float16; here it is float32, or with `--config.model.dtype=bfloat16`
the format of accelerators. Sample i is of a random class of the 1000, its own, for network and classifier.

Cost: the time of an evaluation was not measured; one has the gradient of the classifier in it, and is counted once.
Statistics are for an accelerator: 1024 points at 501 noise levels (published: 9.5 hours on eight A40), 1.2 GB in
float32.

Statistics are those of the model without guidance, as published. So the scale is 0 in the command above, and
`ems.accept` is set here, which takes them for a guided model. Their l is 1, which gave the better FID (Zheng et al.
2023, appendix D.4). Points are samples of the network, each with its own class, because a folder of images has no
labels; the published ones are training images.

Time is that of the 1000 steps, t from 1 to 1e-3, and grids are uniform in it. All options are those of
codebases/guided-diffusion/{sample.sh,runners/diffusion.py} in github.com/thu-ml/DPM-Solver-v3: order 2 in all solvers,
and times of DPM-Solver-v3 that snap to the nodes of its statistics. `sample` takes UniPC, the published best without
statistics. Variant `smoke`: smaller counts, to see that it runs; its numbers mean nothing.

What to expect: the column `published` has the FID of Zheng et al. 2023, table 6 (10,000 samples, pytorch_fid,
statistics VIRTUAL_imagenet256_labeled.npz under ref_batches/imagenet/256 at the checkpoints' address): DPM-Solver-v3
15.10 at 5 evaluations, 8.27 at 10. FID is computed by
`--config.experiment=score --config.images=DIR`; `benchmark` measures distances to a fine solution.
"""

from configs import _released

ADDRESS = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021"
VARIANTS = ("", "smoke")
UNIFORM = {"name": "t_uniform"}
SECOND = {"order": 2, "lower_order_final": True, "grid": UNIFORM}
V3 = SECOND | {
    "name": "dpm_v3",
    "published": True,
    "predictor_pseudo": False,
    "corrector": True,
    "corrector_pseudo": True,
    "grid": UNIFORM | {"snap_to": True},
}
SOLVERS = (
    ("DDIM", {"name": "ddim", "grid": UNIFORM}),
    ("DPM-Solver++(2M)", SECOND | {"name": "dpmpp", "variant": "dpmsolver"}),
    ("UniPC-2, bh2", SECOND | {"name": "unipc", "variant": "bh2"}),
    ("DPM-Solver-v3", V3),
)
NFES = (5, 6, 7, 8, 10, 12, 15, 20)
PUBLISHED = (
    ("DPM-Solver++(2M)", dict(zip(NFES, (16.87, 13.09, 11.02, 9.95, 8.72, 8.13, 7.73, 7.48)))),
    ("UniPC-2, bh2", dict(zip(NFES, (15.62, 11.91, 10.19, 9.29, 8.35, 7.95, 7.64, 7.44)))),
    ("DPM-Solver-v3", dict(zip(NFES, (15.10, 11.39, 9.70, 8.96, 8.27, 7.94, 7.62, 7.39)))),
)


def get_config(variant: str = ""):
    c = _released.start("imagenet256_guided", variant, VARIANTS[1:])
    c.model.address, c.model.release = f"{ADDRESS}/256x256_diffusion.pt", "guided_256"
    c.reference = f"{ADDRESS}/ref_batches/imagenet/256/VIRTUAL_imagenet256_labeled.npz"
    c.model.labels = "random"
    c.guidance.address, c.guidance.release = f"{ADDRESS}/256x256_classifier.pt", "guided_256_classifier"
    c.guidance.scale = 2.0
    c.schedule.name, c.schedule.betas = "vp_discrete", "1e-4,0.02,1000,linear"
    c.grid.name, c.grid.t_start, c.grid.t_end = "t_uniform", 1.0, 1e-3
    c.solver.name = "UniPC-2, bh2"
    c.benchmark.solvers = SOLVERS
    c.sample.count, c.sample.batch, c.benchmark.shown = 16, 4, 4
    c.ems.nodes, c.ems.points, c.ems.batch = 500, 1024, 4
    c.ems.l = 1.0
    c.ems.accept = True  # statistics of the unguided model, though this one is guided
    c.published.metric, c.published.rows = "FID", PUBLISHED
    c.published.source = "Zheng et al. 2023, table 6, at 7 evaluations figure 11; 10,000 samples"
    if variant == "smoke":
        _released.smoke(c)
    return c
