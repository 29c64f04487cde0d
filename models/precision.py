"""Parameters in the precision of a network's products, made once and not in every evaluation."""

ROUNDED = ("embedding", "map_label", "positions")  # beside kernels and their biases


def rounded(params: dict, dtype) -> dict:
    """The parameters as a network of this dtype would round them itself: its outputs stay the same, bit by bit.

    Those of norms and frequencies stay as they are, since they meet numbers of float32. dtype None: nothing is rounded.
    """
    if dtype is None:
        return params
    product = "kernel" in params
    return {
        name: rounded(value, dtype)
        if hasattr(value, "items")
        else value.astype(dtype)
        if product or name in ROUNDED
        else value
        for name, value in params.items()
    }
