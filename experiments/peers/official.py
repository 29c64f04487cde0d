"""The official samplers in the repository of DPM-Solver-v3, imported from a checkout; and all peers in a list."""

import importlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from experiments.peers.case import T_END, T_START, Case, Contestant
from experiments.peers.samplers import Arena, Missing, channels_first, diffusers, importing, k_diffusion

FOLDER = "codebases/edm"  # of the repository


class Schedule:
    """EDM's, as the official samplers want it, in float32. With theirs, of float64, they run in float64 only."""

    marginal_alpha = staticmethod(lambda t: t * 0 + 1)
    marginal_log_mean_coeff = staticmethod(lambda t: t * 0)
    marginal_std = staticmethod(lambda t: t)
    marginal_lambda = staticmethod(lambda t: -t.log())
    inverse_lambda = staticmethod(lambda lam: (-lam).exp())


def official(module: str, name: str, kind: dict, options: dict, case: Case, folder) -> Contestant:
    """DPM-Solver++ or UniPC of the repository of DPM-Solver-v3; the network predicts eps, which costs it least."""
    arena, sampler = Arena(case), official_class(module, name, folder)
    options = options | {"t_start": T_START, "t_end": T_END, "skip_type": "logSNR", "steps": case.steps}

    def run(made):
        return made.sample(lambda x, t: arena.network(x), arena.x, **options)

    return arena.contestant(partial(sampler, Schedule(), **kind), run, "eps")


def official_v3(case: Case, folder) -> Contestant:
    """DPM-Solver-v3, whose code asks for CUDA everywhere: on a processor that is made to mean nothing."""
    arena, sampler = Arena(case), official_class("dpm_solver_v3", "DPM_Solver_v3", folder)
    kept = tempfile.TemporaryDirectory(prefix="peers-")
    for file, names in (("l", "l"), ("sb", "sb")):
        arrays = {key: channels_first(getattr(case.ems, key)).astype(np.float32) for key in names}
        np.savez(Path(kept.name) / f"{file}.npz", **arrays)

    def on_device(work):
        if arena.device.type == "cuda":
            return work()
        with mock.patch.object(arena.torch.Tensor, "cuda", lambda tensor: tensor):
            return work()

    def build():
        ends = {"t_start": T_START, "t_end": T_END, "device": arena.device.type}
        return on_device(lambda: sampler(kept.name, Schedule(), case.steps, **ends))

    def run(made):
        options = {"p_pseudo": False, "use_corrector": True, "c_pseudo": False, "lower_order_final": True}
        return on_device(lambda: made.sample(lambda x, t: arena.network(x), arena.x, order=3, **options))

    return arena.contestant(build, run, "eps")


def official_class(module: str, name: str, folder):
    if not folder:
        raise Missing("not installed (peers.dpm_v3 is empty)")
    with importing(Path(folder) / FOLDER):
        return getattr(importlib.import_module(f"samplers.{module}"), name)


class Peer(NamedTuple):
    """make(case, folder of the official code) -> Contestant, or `Missing`. solver: a key of case.OURS."""

    library: str
    solver: str
    make: Callable


PLUS, SECOND = {"algorithm_type": "dpmsolver++"}, {"order": 2, "lower_order_final": False}
PEERS = (
    Peer("diffusers", "DPM-Solver++(2M)", partial(diffusers, "DPMSolverMultistepScheduler", PLUS)),
    Peer("diffusers", "UniPC-3", partial(diffusers, "UniPCMultistepScheduler", {"solver_order": 3})),
    Peer("k-diffusion", "DPM-Solver++(2M)", k_diffusion),
    Peer("official", "DPM-Solver++(2M)", partial(official, "dpm_solver", "DPM_Solver", PLUS, SECOND)),
    Peer("official", "UniPC-3", partial(official, "uni_pc", "UniPC", {"variant": "bh2"}, {"order": 3})),
    Peer("official", "DPM-Solver-v3", official_v3),
)
