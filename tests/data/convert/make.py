"""Makes the files beside it, with PyTorch (2.15) and the code of EDM: python make.py FOLDER_OF_EDM.

Neither is needed by the project or its tests. The source that EDM's pickles bring along is replaced by PAYLOAD, which
leaves a file behind if it is ever executed; the network is small, random, and made by EDM's own classes.
"""

import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
PAYLOAD = "open('PLANTED', 'w').write('executed')\n"
DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()


def training_state() -> dict:
    """As ScoreSDE's: views, shared storages, every type, a scalar and an empty tensor."""
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    model = OrderedDict(
        base=base,
        transposed=base.transpose(0, 2),
        part=base[:, 1:, ::2],
        parameter=torch.nn.Parameter(base + 0.5),
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
    )
    model.update({name: torch.arange(6).to(getattr(torch, name)) for name in DTYPES})
    return {
        "optimizer": {"state": {0: {"step": 5, "exp_avg": 2 * base}}, "param_groups": [{"betas": (0.9, 0.999)}]},
        "model": model,
        "ema": {"decay": 0.9999, "num_updates": 7, "shadow_params": [base[0], base[1]]},
        "shape": base.shape,
        "dtype": torch.float16,
        "step": 1234,
    }


def edm(folder) -> None:
    """A pickle of a training run of EDM, and its tensors as PyTorch names them."""
    sys.path.insert(0, str(folder))
    sys.modules["requests"] = types.ModuleType("requests")  # dnnlib imports it, nothing here uses it
    from dnnlib import EasyDict
    from torch_utils import persistence

    persistence._module_to_src = lambda module: PAYLOAD
    from training import loss, networks

    torch.manual_seed(0)
    options = {"model_channels": 4, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "label_dim": 3}
    net = networks.EDMPrecond(8, 1, model_type="SongUNet", encoder_type="residual", embedding_type="fourier", **options)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    net = net.eval().requires_grad_(False)
    content = {"ema": net, "loss_fn": loss.EDMLoss(), "augment_pipe": None, "dataset_kwargs": EasyDict(path="here")}
    with open(HERE / "edm.pkl", "wb") as file:
        pickle.dump(content, file)
    np.savez_compressed(HERE / "edm.npz", **{name: value.numpy() for name, value in net.state_dict().items()})


def main(folder) -> None:
    """All files."""
    torch.save(training_state(), HERE / "zip.pt")
    torch.save(training_state(), HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).eval()
    torch.save(layers.state_dict(), HERE / "state_dict.pt")
    torch.save(layers, HERE / "module.pt")
    edm(folder)


if __name__ == "__main__":
    main(sys.argv[1])
