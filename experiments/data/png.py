"""PNG files of samples, whole or absent."""

from pathlib import Path

import numpy as np
from PIL import Image

from experiments.support.tables import replacing


def path_of(workdir, index: int) -> Path:
    """The PNG file of a sample: a folder per thousand."""
    return Path(workdir) / "images" / f"{index // 1000 * 1000:06d}" / f"{index:06d}.png"


def write(path, image) -> None:
    """uint8 [H, W, C] of 1 or 3 channels. An OSError (a full disk, say) names the file and leaves nothing of it."""
    try:
        with replacing(path) as temporary:
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(temporary)
    except OSError as error:
        cause = f"{error.strerror or error}: nothing was written, make room or choose another place"
        raise OSError(error.errno, cause, str(path)) from error


def read(path) -> np.ndarray:
    """uint8 [H, W, C]; ValueError for a file that is not there, or is no whole PNG."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except Exception as error:  # damaged bytes raise whatever the decoder stumbles over
        raise ValueError(f"{path} is missing or damaged ({' '.join(str(error).split())})") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels
