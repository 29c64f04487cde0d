"""Rounds parameters to the precision of a network's products once, instead of in every evaluation."""

ROUNDED = ("embedding", "map_label", "positions")  # parameters to round beside kernels and their biases


def rounded(params: dict, dtype) -> dict:
    """The parameters, rounded as a network of this dtype would round them: its outputs stay the same, bit by bit.

    Parameters of norms, and frequencies, are used with float32 numbers and stay as they are. dtype None: nothing is
    rounded.
    """
    if dtype is None:
        return params
    of_product, found = "kernel" in params, {}
    for name, value in params.items():
        if hasattr(value, "items"):
            found[name] = rounded(value, dtype)
        else:
            found[name] = value.astype(dtype) if of_product or name in ROUNDED else value
    return found
