"""All cases of a directory of official numbers, in the format that experiments/official.py describes.

python main.py --config=configs/parity.py --config.oracle=DIR
"""

from configs import default


def get_config():
    c = default.get_config()
    c.experiment = "parity"
    return c
