"""CIFAR-10, 32x32: DDPM++ (deep, continuous) of ScoreSDE (Song et al. 2021), with the solvers of Zheng et al. 2023.

    python main.py --config=configs/cifar10_score_sde.py --config.model.checkpoint=checkpoint_8.pth    # 64 images
    python main.py --config=configs/cifar10_score_sde.py --config.model.checkpoint=... --config.experiment=ems
    python main.py --config=configs/cifar10_score_sde.py --config.model.checkpoint=... --config.experiment=benchmark
    python main.py --config=configs/cifar10_score_sde.py:long ...                # above 10 evaluations, see below

Checkpoint: checkpoint_8.pth of vp/cifar10_ddpmpp_deep_continuous, github.com/yang-song/score_sde_pytorch, Apache 2.0.
`model.address` is its folder on Google Drive, which no program can download: the error says what to put where. (The
instructions of DPM-Solver-v3 name the folder of the JAX release for the same file.) 106.6 million parameters, 0.43 GB
in float32, as published; the file holds the state of training too. No labels. Variant `flax` is the JAX release,
github.com/yang-song/score_sde, file checkpoint_8, without published numbers: they are of the other one.

Cost: the time of an evaluation was not measured. Statistics are for an accelerator: 4096 points at 1201 noise levels,
as published (7 hours for both ranges on eight A40). Of 120 intervals, `--config.ems.nodes=120`, the published FIDs are
13.67, 7.60, 4.09, 3.49 at 5, 6, 8, 10 evaluations (their table 8), at a tenth of the cost. Points are samples of the
network, for the data set is not at hand; the published ones are of the training set: `--config.ems.rule=noised
--config.images=FOLDER` (files .npz with `images` uint8 [n, 32, 32, 3]).

Time runs from 1 to 1e-3 for up to 10 evaluations and to 1e-4 for more: the latter is variant `long`, with statistics of
its own. All options are those of codebases/score_sde/sample.sh in github.com/thu-ml/DPM-Solver-v3, which differ by the
number of evaluations; the times of DPM-Solver-v3 snap to the nodes of its statistics. Variant `smoke`: smaller counts,
to see that it runs; its numbers mean nothing.

What to expect: the column `published` has the FID of tables 1 and 9 (50,000 samples; Inception of TF-Hub tfgan;
reference statistics cifar10_stats.npz, https://drive.google.com/file/d/14UB27-Spi8VjZYKST3ZcT8YVhAluiFWI; pixels
truncated to uint8, where here they are rounded): DPM-Solver-v3 12.76 at 5 evaluations, 3.40 at 10. FID is computed by
`--config.experiment=score --config.images=DIR`; `benchmark` measures distances to a fine solution.
"""

from configs import _released

FOLDER = "https://drive.google.com/drive/folders"
RELEASES = {  # (folder, file, release)
    "": (f"{FOLDER}/1ZMLBiu9j7-rpdTQu8M2LlHAEQq4xRYrj", "checkpoint_8.pth", "score_sde_ddpmpp_deep"),
    "flax": (f"{FOLDER}/1F74y6G_AGqPw8DG5uhdO_Kf9DCX1jKfL", "checkpoint_8", "score_sde_ddpmpp_deep_flax"),
}
VARIANTS = ("", "flax", "long", "smoke")
SOLVERS = _released.third_order(
    corrector=True,
    at_nfe={nfe: {"predictor_pseudo": True, "lower_order_final": False} for nfe in (1, 2, 3, 4, 5)}
    | {nfe: {"corrector": False} for nfe in (9, 10)},
)
SHORT, LONG = (5, 6, 8, 10), (12, 15, 20, 25)
DDIM = (54.56, 41.92, 27.51, 20.11, 15.64, 12.05, 9.00)
UNIPC = (23.71, 10.41, 5.16, 3.93, 3.88, 3.05, 2.73, 2.65)
FID = {
    "DDIM": DDIM,
    "DPM-Solver++(3M)": (28.53, 13.48, 5.34, 4.01, 4.04, 3.32, 2.90, 2.76),
    "UniPC-3, bh1": UNIPC,
    "UniPC-3, bh2": UNIPC,
    "DPM-Solver-v3": (12.76, 7.40, 3.94, 3.40, 3.24, 2.91, 2.71, 2.64),
}


def get_config(variant: str = ""):
    c = _released.start("cifar10_score_sde", variant, VARIANTS[1:])
    c.model.address, c.model.file, c.model.release = RELEASES.get(variant, RELEASES[""])
    c.schedule.name, c.schedule.beta_min, c.schedule.beta_max = "vp", 0.1, 20.0
    c.grid.t_start, c.grid.t_end = 1.0, 1e-3
    c.benchmark.solvers = SOLVERS
    c.ems.nodes, c.ems.points = 1200, 4096
    nfes = SHORT
    if variant == "long":
        c.nfe, c.grid.t_end, nfes = LONG, 1e-4, LONG
    if variant != "flax":
        c.published.metric = "FID"
        c.published.source = (
            "Zheng et al. 2023, tables 1 and 9, 50,000 samples; UniPC: the better of bh1 and bh2 has this number"
        )
        rows = {label: dict(zip((*SHORT, *LONG), values)) for label, values in FID.items()}
        c.published.rows = tuple(
            (label, {nfe: value for nfe, value in row.items() if nfe in nfes}) for label, row in rows.items()
        )
    if variant == "smoke":
        _released.smoke(c)
    return c
