"""Samples a problem on given devices with a given batch size; compiled once for all methods."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from experiments.build import Method, Problem
from experiments.sampling.alignment import align
from experiments.sampling.draw import generate, make_draw
from experiments.support.mesh import make_mesh, place


def aligned(methods: Mapping, dtype=np.float32) -> dict:
    """Pads the tables of methods to few shapes, since tables of one shape share a program."""
    found = align({key: method.table for key, method in methods.items()}, dtype)
    return {key: replace(method, padded=found[key][0]) for key, method in methods.items()}


class Sampler:
    """Draws samples of `problem`, `batch` at a time on the devices of `mesh` (None: all)."""

    def __init__(self, problem: Problem, batch: int, mesh=None):
        self.problem, self.batch, self.mesh = problem, batch, mesh or make_mesh()
        network = problem.network
        self.draw = make_draw(network.make, network.shape, problem.scale, network.basis is not None)
        self.params = place(self.mesh, network.params)

    def batches(self, method: Method, indices, *, seed: int | None = None, rows: int | None = None, **finish):
        """Yields (indices [b], samples [b, *shape] float32) batch after batch, see draw.generate.

        seed: default: the problem's. rows: default: all of the method. finish=f: yields f(samples) instead; f runs on
        the devices.
        """
        seed = self.problem.seed if seed is None else seed
        return generate(
            self.draw,
            self.params,
            method.runs,
            method.nfe if rows is None else rows,
            seed=seed,
            indices=indices,
            labels=self.problem.labels(indices, seed),
            batch=self.batch,
            mesh=self.mesh,
            jump=method.jump,
            level=self.problem.level,
            **finish,
        )

    def collect(self, method: Method, indices, *, seed: int | None = None, on_batch: Callable = lambda count: None):
        """(all samples [n, *shape], the seconds they took without compilation).

        on_batch(count) is called after each batch with the number of its samples.
        """
        next(self.batches(method, indices, seed=seed, rows=0))  # compiles the program if it is new; no row runs
        begin, parts = time.perf_counter(), []
        for done, part in self.batches(method, indices, seed=seed):
            parts.append(part)
            on_batch(len(done))
        return np.concatenate(parts), time.perf_counter() - begin
