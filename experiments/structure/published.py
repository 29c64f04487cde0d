"""Published shares of explained variance, shown beside those measured here (source: assets/published/scores.csv)."""

from functools import cache

from experiments.build import read_published


@cache
def explained_shares() -> dict:
    """{(data, kind): {closed form: {sigma: share}}}."""
    found = {}
    for row in read_published("scores"):
        place = tuple(row.pop(key) for key in ("data", "kind", "name"))
        shares = {float(sigma): float(share) for sigma, share in row.items() if share}
        found.setdefault(place[:2], {})[place[2]] = shares
    return found


def published_columns(name: str, sigma: float) -> dict:
    """The published columns of a row, for a closed form at a noise level; None if not published. Any `name` will do."""
    return {
        f"published_{data}_{kind}": forms.get(name, {}).get(sigma) for (data, kind), forms in explained_shares().items()
    }
