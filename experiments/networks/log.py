"""The log of a training run: one JSON row per step, and its plot."""

import json
from pathlib import Path

import numpy as np

from experiments.data import files


def read(path) -> list[dict]:
    """The complete rows of a log: a last line that a kill cut short is left out."""
    lines = Path(path).read_text().split("\n")[:-1] if Path(path).exists() else []
    return [json.loads(line) for line in lines]


class Log:
    """Appends rows (step, loss, norm, images, lr) to `path`; rows from `start` on, past the checkpoint, are dropped."""

    def __init__(self, path, start: int):
        self.path = Path(path)
        kept = [row for row in read(path) if row["step"] < start]
        if len(kept) != start:
            raise ValueError(
                f"{path} has {len(kept)} rows before step {start} of the checkpoint, expected {start}: "
                "the folder mixes two runs, use a new workdir"
            )
        with files.replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def append(self, steps: range, losses, norms, batch: int, schedule) -> None:
        """Write one chunk and flush. FloatingPointError names the first step whose loss or gradient is not finite."""
        rates = np.asarray(schedule(np.arange(steps.start, steps.stop)))
        with self.path.open("a") as file:
            for step, loss, norm, rate in zip(steps, losses, norms, rates, strict=True):
                if not np.isfinite(loss) or not np.isfinite(norm):
                    raise FloatingPointError(
                        f"the loss is {loss} and the gradient's norm {norm} at step {step}: lower train.learning_rate "
                        "or raise train.warmup and use a new workdir; the last checkpoint is sound and was kept"
                    )
                row = {
                    "step": step,
                    "loss": float(loss),
                    "norm": float(norm),
                    "images": (step + 1) * batch,
                    "lr": float(rate),
                }
                file.write(json.dumps(row) + "\n")
            file.flush()


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over `width` values, shorter at the beginning."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (total[ends] - total[starts]) / (ends - starts)


def plot(path, picture) -> None:
    """Draw the losses of a log, single steps and a running mean, into a .png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read(path)
    images = np.array([row["images"] for row in rows])
    loss = np.array([row["loss"] for row in rows])
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(images, loss, ".", color="0.8", markersize=2, label="one step")
    axes.plot(images, smooth(loss, max(1, len(loss) // 50)), label="running mean")
    axes.set(xlabel="images seen", ylabel="training loss", ylim=(0, min(1.5, float(np.quantile(loss, 0.99)) * 1.2)))
    axes.legend()
    with files.replacing(picture) as temporary:
        figure.savefig(temporary, dpi=120)
