"""Ways to call a network and to read its output, and which of them fits.

A network's output can be read as any prediction, and its time may be in another unit. Read rightly, a sound network
gives the mean of x0 given x, which denoises better than all other functions of x. So with x = alpha x0 + sigma z no
combination of x and the output can be better either, at any noise level:

    excess = mean over levels of log( E|x0_hat - x0|^2 / min_{a, b} E|a x + b out - x0|^2 ) = 0     (1)
    skill = -mean over levels of log( E|x0_hat - x0|^2 / min_a E|a x - x0|^2 ) > 0                  (2)

The embedded network has an excess of 0.003; a wrong prediction or unit of time makes it 0.1 to 5. Without data, x0
are samples that are drawn by DDIM as the reading says: a wrong one then comes down to 0.02 in the worst case, and a
senseless one can agree with itself, but it has no skill.
"""

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

from solvers.model.wrappers import TIME_UNITS
from solvers.prediction import PREDICTIONS, convert

LEVELS = 7  # noise levels in (1): sigma / alpha from 20 to 1/20 of the size of x0
STEPS = 20  # steps of DDIM
FLOOR = 1e-6  # square errors below this share of sigma^2 / alpha^2 are round-off
ACCURACY = 0.01  # excesses below this count as equal: the reading with more skill is preferred
EXPLAINS = 4.0  # another reading explains an excess if its own is smaller by this factor for each change,
SOUND = 0.25  # below this,
SKILL = 0.05  # and its skill is above this

# What a model may want instead of t: a unit of networks, t before its wrapper changed it, or x / alpha as well.
SCALED = {"t and x / alpha": lambda schedule, t: t, "sigma and x / alpha": TIME_UNITS["sigma"]}
UNDONE = {"t / 1000": lambda schedule, t: t / 1000, "(t + 1) / 1000": lambda schedule, t: (t + 1) / 1000}
UNITS = {"t": lambda schedule, t: t} | TIME_UNITS | UNDONE | SCALED
del UNITS["score_sde"]  # within one label of "label": nothing tells them apart


class Reading(NamedTuple):
    """sign * model(x, unit(t)) is the prediction."""

    prediction: str
    sign: int = 1
    unit: str = "t"

    def changes(self, declared) -> int:
        """The number of fields in which it differs from another reading."""
        return sum(a != b for a, b in zip(self, declared))

    def describe(self) -> str:
        """The reading as words of a sentence."""
        return f"{'minus ' if self.sign < 0 else ''}{self.prediction} of {self.unit}"


class Probe(NamedTuple):
    """A model to evaluate on P points at once; float64 outside, its own precision inside."""

    call: Callable  # (x [P, *D], t) -> out [P, *D]
    schedule: Any
    noise: np.ndarray  # [P, *D]
    x0: np.ndarray | None  # [P, *D]; None without data
    ends: tuple  # t_start, t_end

    def noisy(self, x0, t):
        """alpha x0 + sigma noise, [P, *D]."""
        return self.schedule.alpha(t) * x0 + self.schedule.sigma(t) * self.noise

    def times(self, x0):
        """[LEVELS], uniform in lam, from where x0 is almost lost in noise to where it is almost free of it."""
        middle = -0.5 * np.log(np.mean(x0**2) + 1e-12)
        lam = np.clip(self.schedule.lam(np.array(self.ends)), middle - np.log(20), middle + np.log(20))
        return self.schedule.t_of_lam(np.linspace(lam[0], lam[1], LEVELS))

    def out(self, unit, x, t):
        """The output [P, *D] for x at t where the model takes t in this unit."""
        scale = self.schedule.alpha(t) if unit in SCALED else 1.0
        return self.call(x / scale, UNITS[unit](self.schedule, t))

    def outputs(self, unit, x0) -> list:
        """The outputs for noisy x0 at each of the times."""
        return [self.out(unit, self.noisy(x0, t), t) for t in self.times(x0)]


def excess(probe, reading, outputs=None) -> tuple[float, float]:
    """Eqs. (1) and (2); (inf, 0) where samples diverge or outputs are not finite. `outputs`: on the data, if known."""
    x0 = _samples(probe, reading) if probe.x0 is None else probe.x0
    if x0 is None:
        return np.inf, 0.0
    outputs, errors, floors = outputs or probe.outputs(reading.unit, x0), [], []
    if not np.all(np.isfinite(outputs)):
        return np.inf, 0.0
    for t, out in zip(probe.times(x0), outputs):
        x = probe.noisy(x0, t)
        combined, multiple = (_least_squares(columns, x0) for columns in ((x, out), (x,)))
        errors.append([np.mean((y - x0) ** 2) for y in (_denoised(probe, reading, t, x, out), combined, multiple)])
        floors.append(FLOOR * (probe.schedule.sigma(t) / probe.schedule.alpha(t)) ** 2)
    own, least, without = np.log(np.add(errors, np.array(floors)[:, None])).mean(axis=0)
    return float(own - least), float(without - own)


def _least_squares(columns, target):
    """The linear combination of arrays that is nearest to the target."""
    a = np.stack([column.ravel() / (np.linalg.norm(column) + np.finfo(float).tiny) for column in columns], axis=1)
    return (a @ np.linalg.lstsq(a, target.ravel(), rcond=1e-6)[0]).reshape(target.shape)


def best_reading(probe, declared, worst):
    """(reading, its excess): the one that explains the excess `worst` of the declared one, which is the last resort."""
    found = {declared: (worst, 0.0)}
    for unit in UNITS:
        outputs = None if probe.x0 is None else probe.outputs(unit, probe.x0)
        for prediction, sign in product(PREDICTIONS, (1, -1)):
            reading = Reading(prediction, sign, unit)
            # without data each reading takes a run of DDIM: skip those that change both the time and the output
            if probe.x0 is not None or unit == declared.unit or reading.changes(declared) == 1:
                value, skill = excess(probe, reading, outputs)
                if value < SOUND and skill > SKILL:
                    found[reading] = value, -skill
    best = min(found, key=lambda r: (max(found[r][0], ACCURACY) * EXPLAINS ** r.changes(declared), found[r][1]))
    return best, found[best][0]


def explain(declared, worst, best, least) -> str:
    """A sentence that says what the outputs look like instead, and the remedy; worst and least: the two excesses."""
    remedies = []
    if best.prediction != declared.prediction:
        remedies.append(f"pass prediction={best.prediction!r}")
    if best.sign != declared.sign:
        remedies.append("change the sign of the output")
    if best.unit in TIME_UNITS:
        remedies.append(f"give the network its unit of time with solvers.time_units(network, schedule, {best.unit!r})")
    elif best.unit in SCALED:
        remedies.append("give the network x / alpha, as solvers.bind(denoiser, label, schedule) does for EDM denoisers")
    elif best.unit in UNDONE:
        remedies.append("pass t itself to the network, not a label or a multiple of t")
    return (
        f"the outputs look like {best.describe()}, not {declared.describe()} (square error {np.exp(least):.3g} against "
        f"{np.exp(worst):.3g} times the least possible): {' and '.join(remedies)}"
    )


def _denoised(probe, reading, t, x, out):
    """x0_hat [P, *D]."""
    u, v = convert(probe.schedule.alpha(t), probe.schedule.sigma(t), reading.prediction, "x0")
    return u * x + v * reading.sign * out


def _samples(probe, reading):
    """x0 [P, *D] by DDIM from lam = -5 to 5, or from end to end; None where they are not numbers of a usual size."""
    schedule = probe.schedule
    lam = np.clip(schedule.lam(np.array(probe.ends)), -5, 5)
    times = schedule.t_of_lam(np.linspace(lam[0], lam[1], STEPS + 1))
    x = schedule.sigma(times[0]) * np.roll(probe.noise, 1, axis=0)  # not the noise that each sample will be given
    for t, after in pairwise(times):
        x0 = _denoised(probe, reading, t, x, probe.out(reading.unit, x, t))
        x = schedule.alpha(after) * x0 + schedule.sigma(after) / schedule.sigma(t) * (x - schedule.alpha(t) * x0)
    return x0 if 0.02 < np.sqrt(np.mean(x0**2)) < 50 else None
