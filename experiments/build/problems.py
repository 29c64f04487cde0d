"""The problem that all solvers of a run share: the ODE, its initial noise and the classes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import jax
import numpy as np

import gaussian
from configs.sections import Grid
from experiments.build.jumps import data_gaussian
from experiments.build.networks import Network, network, weights_of
from experiments.build.schedules import is_guided, schedule, span
from experiments.build.sections import settings
from experiments.build.sources import Source
from experiments.build.tables import Tables
from experiments.support import keys
from experiments.support.errors import ConfigError
from solvers.fingerprint import fingerprint


@dataclass(frozen=True, eq=False)
class Problem:
    """An ODE to solve: its network and schedule, and `tables`, which makes the tables of its solvers.

    rule: how samples get their labels (`model.labels`). seed: the default seed of the samples. guidance: the scale, 1
    without guidance. basis: the name of the solver's coordinates. exact: the mixture of a closed-form model, or None.
    source: the data. gaussian(): the data's Gaussian, which teleportation needs.
    """

    network: Network
    schedule: Any
    tables: Tables
    rule: str
    seed: int
    dtype: str
    guided: bool
    guidance: float
    basis: str
    exact: gaussian.Mixture | None
    source: Source
    gaussian: Callable[[], gaussian.Mixture]

    @property
    def span(self) -> tuple[float, float]:
        """The times where sampling starts and ends."""
        return self.tables.span

    @property
    def scale(self) -> float:
        """sigma(t_start), the factor of the initial noise."""
        return float(self.schedule.sigma(self.span[0]))

    @property
    def sigmas(self) -> tuple[float, float]:
        """The noise levels sigma / alpha where sampling starts and ends."""
        return tuple(float(np.exp(-self.schedule.lam(t))) for t in self.span)

    def start(self, seed: int, indices) -> np.ndarray:
        """The states of samples `indices` at the first time, [n, *shape]."""
        return self.scale * keys.initial_noise(seed, indices, self.network.shape)

    def labels(self, indices, seed: int | None = None) -> np.ndarray:
        """The class of each sample, int32 [n], by its index alone; `network.classes` means "no label".

        seed: for the rule `random`; by default that of the samples.
        """
        classes, rule = self.network.classes, self.rule
        if rule == "none":
            return np.full(len(indices), classes, np.int32)
        if rule == "all" and classes:
            return (np.asarray(indices) % classes).astype(np.int32)
        if rule == "random" and classes:
            seed = self.seed if seed is None else seed
            return np.asarray(keys.random_labels(seed, np.asarray(indices, np.int32), classes))
        if not rule.isdecimal() or int(rule) >= classes:
            raise ConfigError(f"model.labels must be none, all, random, or a class below {classes}, got {rule!r}")
        return np.full(len(indices), int(rule), np.int32)

    def jump(self, sigma: float | None) -> gaussian.AffineMap | None:
        """The exact flow of the data's Gaussian from the first time to sigma / alpha = `sigma`, float32.

        None if there is nothing to skip.
        """
        start, end = self.span[0], self.tables.at(sigma)
        if sigma is None or np.isclose(start, end, rtol=1e-9):
            return None
        return jax.tree.map(np.float32, gaussian.teleport(self.gaussian(), self.schedule, start, end))

    def level(self, t) -> str:
        return f"sigma / alpha = {np.exp(-self.schedule.lam(np.float64(t))):.4g}"

    @cached_property
    def identity(self) -> dict:
        """Plain values that identify the model. EMS and samples carry them, so those of another are not used."""
        return {
            "parameters": fingerprint(weights_of(self.network.params)),
            "schedule": repr(self.schedule),
            "prediction": self.network.prediction,
            "guidance": self.guidance,
            "labels": "none" if self.rule == "none" else "classes",
            "basis": self.basis,
        }


def problem(config, *, guidance=True, schedule_name: str | None = None, basis: str | None = None) -> Problem:
    """Builds the problem of a config. guidance=False, a schedule's name and a basis override the config."""
    guided, basis = guidance and is_guided(config), basis or config.ems.basis
    solved = schedule(config, schedule_name)
    found = network(config, solved, guided=guided, basis=basis)
    exact = None
    if config.model.name == "mixture":
        exact = found.params if found.basis is None else found.params["network"]
    return Problem(
        found,
        solved,
        make_tables(config, solved, found.prediction, guided),
        rule=str(config.model.labels),
        seed=config.sample.seed,
        dtype=config.model.dtype,
        guided=guided,
        guidance=float(config.guidance.scale) if guided else 1.0,
        basis=basis,
        exact=exact,
        source=Source(config.data.name, config.data.path, config.images, config.mixture.seed),
        gaussian=cache(partial(data_gaussian, config, found, exact)),
    )


def make_tables(config, schedule, prediction: str, guided: bool) -> Tables:
    """Builds the Tables of a config for a network with this prediction, guided or not."""
    grid = settings(config.grid, Grid)
    return Tables(
        schedule,
        span(grid, schedule),
        grid,
        prediction,
        config.guidance.scale,
        gaussian=bool(config.teleport.gaussian) and not guided,
        teleport=config.teleport.sigma,
    )
