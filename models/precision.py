"""Parameters in the precision of a network's products, made once and not in every evaluation."""

ROUNDED = ("embedding", "map_label", "positions")  # beside kernels and their biases


def rounded(params: dict, dtype) -> dict:
    """The parameters as a network of this dtype would round them itself: its outputs stay the same, bit by bit.

    Those of norms, and frequencies, meet numbers in float32 and stay as they are. dtype None: nothing is rounded.
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
