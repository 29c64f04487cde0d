"""The closed forms of `score_analysis`: isotropic, Gaussian, mixture, and the data themselves ("delta")."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import gaussian
from experiments.structure.published import published_columns

EXACT = gaussian.posterior_mean
EXPANSIONS = {
    f"expansion {order}{' regularised' * regularised}": partial(
        gaussian.expanded_mean, order=order, regularised=regularised
    )
    for regularised in (False, True)
    for order in (1, 2)
}


class Form(NamedTuple):
    """A closed form: its place in the tables, and `build() -> (mixture, function(mixture, x, alpha, sigma))`.

    family: main | rank | rank without floor | mixture.
    """

    name: str
    family: str
    components: int
    rank: int
    build: Callable

    def row(self, split: str, row: dict) -> dict:
        """The row with the form's place, and on training images with the published numbers of a form of this name."""
        place = {"images": split, "family": self.family, "components": self.components, "rank": self.rank}
        published = published_columns(self.name, row["sigma"])
        return place | row | (published if split == "train" else dict.fromkeys(published))


def closed_forms(c, x, labels) -> list[Form]:
    """All of them, for data x [N, *D] with labels [N]; c: the section `score_analysis`.

    Nothing is fitted before a form is built.
    """
    dim, fit = x[0].size, cache(partial(gaussian.fit_gaussian, x))
    forms = [
        _main("isotropic (mean)", 1, 0, lambda: gaussian.isotropic(fit(), variance=False)),
        _main("isotropic (mean, std)", 1, 0, lambda: gaussian.isotropic(fit())),
        _main("Gaussian", 1, dim, fit),
        _main("Gaussian + 1e-4", 1, dim, lambda: gaussian.regularise(fit(), 1e-4)),
        *(_main(name, 1, dim, fit, function) for name, function in EXPANSIONS.items()),
        _main("classes", int(labels.max()) + 1, dim, lambda: gaussian.fit_classes(x, labels)),
    ]
    for rank in sorted({min(rank, dim) for rank in c.ranks}):
        forms += [
            _truncated("rank", "Gaussian", 1, rank, fit),
            _truncated("rank without floor", "Gaussian", 1, rank, fit),
        ]
    return [*forms, *_clusters(c, x), _main("delta", len(x), 0, lambda: gaussian.delta(x))]


def _clusters(c, x) -> list[Form]:
    """Mixtures by k-means. Those of one fit follow each other: it is kept, and gone before there is the next."""
    dim, kept, forms = x[0].size, {}, []

    def fit(count, rank):
        if count not in kept:
            kept.clear()
            kept[count] = gaussian.fit_mixture(x, count, rank)
        return kept[count]

    for count in c.components:
        top = min(dim, max(1, c.directions // count))
        mixture = partial(fit, count, top)
        forms.append(_main(f"k-means {count}", count, top, mixture))
        for rank in sorted({min(rank, top) for rank in c.mixture_ranks} - {top}):
            forms.append(_truncated("mixture", f"k-means {count}", count, rank, mixture))
    return forms


def _main(name, components, rank, mixture, function=EXACT) -> Form:
    return Form(name, "main", components, rank, lambda: (mixture(), function))


def _truncated(family, name, components, rank, mixture) -> Form:
    """The mixture with `rank` directions of each component, and the mean variance of the others, or none."""
    floor = family != "rank without floor"
    name = f"{name}, rank {rank}{', no floor' * (not floor)}"
    return Form(name, family, components, rank, lambda: (gaussian.truncate(mixture(), rank, floor), EXACT))
