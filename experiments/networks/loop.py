"""The loop over the calls of a training: which steps they take, which examples these see, when files are written."""

import itertools

import numpy as np

from experiments.networks.step import State


def snapshot_steps(steps: int, count: int) -> list[int]:
    """`count` steps from 0 to `steps`, spaced like a geometric series from 1 on; fewer where they would coincide."""
    return sorted({0, *np.geomspace(1, steps, count - 1).round().astype(int).tolist()}) if count > 1 else [0][:count]


def ranges(start: int, steps: int, size: int, stops):
    """The chunks from `start` to `steps`: at most `size` updates each, ending at every one of `stops`."""
    stops = sorted({stop for stop in stops if start < stop < steps} | {steps})
    for stop in stops:
        while start < stop:
            yield range(start, min(start + size, stop))
            start = min(start + size, stop)


def fit(state: State, chunk, feed, chunks, writer) -> State:
    """Run the chunks; the host prepares the next one (`feed(range)`) and logs the one before while a device computes.

    writer.rows(range, losses, norms) comes once per chunk, in order, and raises at a loss that is not finite;
    writer.stop(state) at the steps of `writer.stops` and at the end, when all losses before it have passed `rows`.
    """
    chunks, stops, pending = list(chunks), writer.stops, None
    batches = feed(chunks[0]) if chunks else None
    for steps, following in itertools.pairwise([*chunks, None]):
        state, *results = chunk(state, *batches)
        if following is not None:
            batches = feed(following)
        if pending is not None:
            writer.rows(*pending)
        pending = (steps, *results)
        if steps.stop in stops or following is None:
            writer.rows(*pending)
            pending = None
            writer.stop(state)
    return state


def batch_indices(count: int, batch: int, steps: range, seed: int) -> np.ndarray:
    """Indices [steps, batch] into `count` examples: epoch after epoch, each its own permutation.

    A pure function of (seed, step): a resumed run sees the batches that an uninterrupted one would have seen.
    """
    position = np.arange(steps.start * batch, steps.stop * batch, dtype=np.int64)
    epochs, offsets = np.divmod(position, count)
    indices = np.empty_like(position)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        indices[chosen] = np.random.default_rng([seed, int(epoch)]).permutation(count)[offsets[chosen]]
    return indices.reshape(len(steps), batch)
