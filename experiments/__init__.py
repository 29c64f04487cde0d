"""The experiments: what `python main.py --config.experiment=NAME` runs.

A module of an experiment has `run(config, workdir)`. The list below is all that main.py and the docs know of it.
"""

import os
import sys
from typing import NamedTuple


class Experiment(NamedTuple):
    """The module, below this package; the sections of the config and single keys that it reads; what it does.

    several: whether several processes may share the work (`distributed`).
    """

    module: str
    reads: tuple[str, ...]
    line: str
    several: bool = False


SCHEDULE = ("schedule", "grid.t_start", "grid.t_end", "grid.name", "grid.times")
PIXELS = (*SCHEDULE, "model", "mixture", "guidance", "sample.seed", "data", "images")  # a network in pixels
NETWORK = (*PIXELS, "ems.basis", "reference")  # in any basis, which may be that of the reference
GAUSSIAN = ("teleport.gaussian",)
SOLVING = (*NETWORK, *GAUSSIAN, "grid", "ems", "nfe", "benchmark.solvers")
SCORING = ("features", "reference", "classifier", "inception")
COMPARING = (*SOLVING, *SCORING, "benchmark", "sample.count", "sample.batch", "sample.devices")
ONE = ("solver", "sample", "published")

EXPERIMENTS = {
    "benchmark": Experiment(
        "compare.benchmark",
        (*COMPARING, "teleport.sigma", "published"),
        "several solvers at several numbers of network evaluations against a fine solution (default)",
    ),
    "sample": Experiment(
        "images.sample",
        (*SOLVING, *SCORING, *ONE, "teleport.sigma", "distributed"),
        "images with one solver, in blocks: stopped at any moment, it goes on",
        several=True,
    ),
    "score": Experiment(
        "images.score",
        (*SCORING, "score", "images", "sample.scored", "sample.block"),
        "FID and its relatives of any images, with a passport",
    ),
    "reference": Experiment(
        "images.reference",
        (*SCORING, "score.layout", "score.batch", "images", "data", "sample.block"),
        "the statistics of a data set that distances are to",
    ),
    "ems": Experiment(
        "ems.estimate",
        (*NETWORK, *GAUSSIAN, "ems", "distributed"),
        "the model's statistics (EMS), which DPM-Solver-v3 needs",
        several=True,
    ),
    "convert": Experiment(
        "networks.convert",
        ("model",),
        "a publisher's checkpoint (EDM, ScoreSDE, guided diffusion) as a parameter file of this project",
    ),
    "train": Experiment("networks.train", ("train", "model", "data"), "the network, trained; stopped, it goes on"),
    "classifier": Experiment(
        "networks.classifier",
        ("train.classifier_epochs", "train.seed", "data"),
        "the feature network, trained, and the reference moments in its features",
    ),
    "speed": Experiment(
        "timing.speed",
        (*SOLVING, "speed", "teleport.sigma"),
        "sampling time in units of the bare network's",
    ),
    "throughput": Experiment(
        "timing.throughput",
        (*SOLVING, *SCORING, *ONE, "throughput", "teleport.sigma"),
        "images per second by batch and devices, compilation, and what limits them",
    ),
    "peers": Experiment(
        "peers.beside",
        ("peers",),
        "sampling beside diffusers, k-diffusion and official codes, whatever of them is installed",
    ),
    "health": Experiment(
        "networks.health",
        (*NETWORK, *GAUSSIAN, "ems", "health"),
        "whether the network is a sound function of noise: what statements about solvers rest on",
    ),
    "spectrum": Experiment(
        "checks.spectrum",
        ("schedule", "grid", "nfe", "benchmark.solvers", "ems.nodes", "spectrum", "reference"),
        "the exact error of each solver on Gaussian data, by variance",
    ),
    "convergence": Experiment(
        "checks.convergence",
        (*SOLVING, "convergence", "oracle", "sample.count"),
        "error against the number of evaluations on a closed-form mixture, where it is exact",
    ),
    "fit_gaussian": Experiment(
        "structure.fit",
        ("gaussian", "data"),
        "the Gaussian of the data, or a mixture of them, which teleportation needs",
    ),
    "score_analysis": Experiment(
        "structure.analysis",
        (*PIXELS, *GAUSSIAN, "score_analysis", "sample.batch"),
        "how Gaussian the network's score is, by noise level",
    ),
    "learning": Experiment(
        "structure.learning",
        (*PIXELS, *GAUSSIAN, "learning", "sample.batch"),
        "the same through training, from its snapshots",
    ),
    "trajectories": Experiment(
        "flows.trajectories",
        (*PIXELS, *GAUSSIAN, "trajectories", "sample.batch"),
        "the network's beside those of closed-form scores, from the same noise",
    ),
    "teleport": Experiment(
        "compare.teleport",
        (*COMPARING, "teleport.sigmas", "teleport.intervals", "teleport.skips", "teleport.seeds"),
        "what skipping the first part of sampling in closed form costs and saves",
    ),
    "choose_skip": Experiment(
        "compare.choose_skip",
        (*SOLVING, "solver", "teleport.sigmas", "teleport.share", "benchmark.reference_nfe", "sample"),
        "the noise level to teleport a solver to",
    ),
    "flows_2d": Experiment(
        "flows.plane",
        ("flows", "mixture", "schedule", "sample.seed", "trajectories.threshold"),
        "Gaussian, mixture and delta flows in the plane, in pictures",
    ),
    "ems_ablation": Experiment(
        "compare.ablation",
        (*COMPARING, "ablation"),
        "what DPM-Solver-v3 depends on: statistics by statistics, option by option",
    ),
    "parity": Experiment("checks.parity", ("oracle",), "a directory of official numbers, case by case"),
    "ems_parity": Experiment(
        "checks.ems_parity",
        ("oracle", "nfe", "ems.probes", "ems.seed", "ems.batch"),
        "the statistics estimated here against those of such a directory",
    ),
}
ALWAYS = ("experiment", "cpu_devices", "compilation_cache")  # read for all of them


def reads(experiment: str, key: str) -> bool:
    """Whether an experiment reads this key of the config, "section.key", or one that stands in no section."""
    return bool({key, key.partition(".")[0]} & {*ALWAYS, *EXPERIMENTS[experiment].reads})


def stop_quietly(number, frame):
    """Handles Ctrl-C while the command starts: nothing is written yet, and a traceback would tell nothing."""
    print("error: stopped", file=sys.stderr, flush=True)
    os._exit(128 + number)
