"""A network's health in a picture."""

import numpy as np

from experiments.support.plots import plt, save


def plot_health(path, found):
    """The three looks at a network (looks.py): order of Heun, the Gaussian part against sigma, s against lam."""
    figure, (order, part, s) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    n, rmse = np.array(found["order"]["intervals"], float), np.array(found["order"]["rmse"])
    order.loglog(n, rmse, "o-", label="Heun, median RMSE")
    order.loglog(n, rmse[0] * (n / n[0]) ** -2, "k:", label="slope 2")
    order.set_xlabel("intervals")
    order.legend(fontsize=9)
    sigma = [row["sigma"] for row in found["gaussian"]]
    for name in ("score", "denoiser"):
        share = np.array([row[name] for row in found["gaussian"]])
        part.loglog(sigma, np.maximum(1 - share, 1e-6), "o-", ms=3, label=f"share of the {name} not explained")
    for name, text in (("rmse", "denoiser"), ("l", "l")):
        part.loglog(sigma, [row[name] for row in found["gaussian"]], "s--", ms=3, label=f"rms difference of {text}")
    part.axhline(0.01, color="0.5", lw=0.8)
    part.set_xlabel("sigma")
    part.set_title("network beside the Gaussian of the data", fontsize=10)
    part.legend(fontsize=9)
    for name in ("max", "rms", "median") if found["s"] else ():
        s.plot([row["lam"] for row in found["s"]], [row[name] for row in found["s"]], label=f"{name} of |s|")
    s.set_xlabel("lam")
    s.set_yscale("symlog", linthresh=1)
    s.legend(*s.get_legend_handles_labels(), fontsize=9)
    for axis in (order, part, s):
        axis.grid(alpha=0.3)
    save(figure, path)
