"""Samplers of packages in PyTorch: the one file that may import torch, diffusers and k_diffusion.

None of them is a requirement. They are imported at their first use. A package that cannot be imported raises `Missing`
with the reason.
"""

import io
import sys
import warnings
from collections.abc import Callable
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.peers.case import Case, Contestant


class Missing(Exception):
    """A peer is not available; the message says why."""


@contextmanager
def importing(folder=None):
    """Turns any error of an import, also in a package's own requirements, into Missing.

    folder: the folder of a repository's own modules.
    """
    path = list(sys.path)
    try:
        sys.path[:0] = [str(Path(folder).absolute())] if folder else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how packages import others
            yield
    except Exception as error:
        whole = isinstance(error, ModuleNotFoundError) and error.name in ("torch", "diffusers", "k_diffusion")
        reason = " ".join(f"{error}".split()) or type(error).__name__
        raise Missing("not installed" if whole else f"not installed ({reason})") from error
    finally:
        sys.path[:] = path


def torch_on(threads: int = 1):
    """(torch, its device): the processor with so many threads, or the GPU where that is jax's device."""
    with importing():
        import torch
    torch.set_num_threads(threads)
    if jax.devices()[0].platform == "cpu":
        return torch, torch.device("cpu")
    if not torch.cuda.is_available():
        raise Missing("not installed (torch sees no GPU)")
    return torch, torch.device("cuda")


class Arena:
    """A case in PyTorch: the network, its noise, and contestants of a builder and a sampler.

    Images are [B, C, H, W]; other samples [B, D, 1, 1], as the official code takes nothing else.
    """

    def __init__(self, case: Case):
        self.case, (self.torch, self.device) = case, torch_on()
        self.x = self.tensor(channels_first(case.x))
        self.network, self.still = self.layers(case.weights), self.layers(case.still)

    def tensor(self, array):
        return self.torch.from_numpy(np.array(array, order="C")).to(self.device)

    def layers(self, weights) -> Callable:
        if len(weights) == 1:
            kernel = self.tensor(weights[0].transpose(3, 2, 0, 1))
            return lambda x: self.torch.nn.functional.conv2d(x, kernel, padding=1)
        down, up = map(self.tensor, weights)
        return lambda x: (x.flatten(1) @ down @ up).view_as(x)

    def contestant(self, build, run, prediction=None, ready=lambda made: None) -> Contestant:
        def quiet(work, *args):
            with self.torch.no_grad(), redirect_stdout(io.StringIO()):
                result = work(*args)
            self.wait()
            return result

        def calls():
            x = self.x
            for _ in range(self.case.steps):
                x = self.still(x)

        def memory(made):
            if self.device.type == "cpu":
                return None
            self.torch.cuda.reset_peak_memory_stats()
            before = self.torch.cuda.memory_allocated()
            quiet(run, made)
            return self.torch.cuda.max_memory_allocated() - before

        return Contestant(
            *(partial(quiet, work) for work in (build, run, calls)),
            read=lambda x: channels_last(x.cpu().numpy(), self.case.x.shape),
            prediction=prediction,
            ready=ready,
            memory=memory,
        )

    def wait(self):
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()


def channels_first(x):
    """[n, H, W, C] -> [n, C, H, W]; [n, *D] -> [n, D, 1, 1]."""
    return np.moveaxis(x, -1, 1) if x.ndim == 4 else x.reshape(len(x), -1, 1, 1)


def channels_last(x, shape):
    return np.moveaxis(x, 1, -1) if len(shape) == 4 else x.reshape(shape)


def diffusers(name: str, options: dict, case: Case, folder) -> Contestant:
    """A scheduler, with its own noise levels of a VP schedule; the network predicts x0, which costs it least."""
    arena = Arena(case)
    with importing():
        import diffusers

    def build():
        scheduler = getattr(diffusers, name)(prediction_type="sample", **options)
        reset(scheduler)
        return scheduler

    def reset(scheduler):
        scheduler.set_timesteps(case.steps, device=arena.device)

    def run(scheduler):
        x = arena.x
        for t in scheduler.timesteps:
            x = scheduler.step(arena.network(x), t, x).prev_sample
        return x

    return arena.contestant(build, run, ready=reset)


def k_diffusion(case: Case, folder) -> Contestant:
    arena = Arena(case)
    with importing():
        from k_diffusion.sampling import sample_dpmpp_2m

    def run(sigmas):
        return sample_dpmpp_2m(lambda x, sigma: arena.network(x), arena.x, sigmas, disable=True)

    return arena.contestant(lambda: arena.tensor(case.times.astype(np.float32)), run, "x0")
