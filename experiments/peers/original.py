"""EDM's CIFAR-10 DDPM++ in PyTorch, from a checkout of github.com/NVlabs/edm, with numbers for parameters."""

import copy
import importlib
from collections.abc import Callable

from experiments.peers.samplers import Missing, channels_first, importing, torch_on


def original(folder, options: dict, numbers: Callable):
    """(EDM's network, its tensors by name), every parameter being numbers(name, shape); `Missing` without a checkout.

    options: of its SongUNet, under EDM's names.
    """
    torch, device = torch_on()
    if not folder:
        raise Missing("not installed (peers.edm is empty)")
    with importing(folder):
        networks = importlib.import_module("training.networks")
    net = networks.EDMPrecond(img_resolution=32, img_channels=3, model_type="SongUNet", **options).eval()
    for name, value in net.state_dict().items():
        if not name.endswith("resample_filter"):
            value.copy_(torch.from_numpy(numbers(name, tuple(value.shape))))
    tensors = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    return net.to(device, memory_format=torch.channels_last), tensors


def drawing(net, table, x, dtype: str, threads: int) -> Callable:
    """draw(exact=False) -> images [B, H, W, C]: the sampler of a deterministic table of scalars for predictions of x0.

    x [B, H, W, C]. float32 is TF32 on a GPU, unless `exact`.
    """
    torch, device = torch_on(threads)
    x = torch.from_numpy(channels_first(x).copy()).to(device, memory_format=torch.channels_last)
    times = torch.as_tensor(table.t, dtype=torch.float32, device=device)
    rows = [(float(a), [float(b) for b in row]) for a, row in zip(table.a, table.b)]
    denoise = net if dtype == "float32" else in_bfloat16(torch, net)
    torch.backends.cudnn.benchmark = True

    def draw(exact=False):
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not exact
        state, history = x, []
        with torch.no_grad():
            for t, (a, weights) in zip(times, rows):
                history = [denoise(state, t), *history][: len(weights)]
                state = a * state + sum(b * m for b, m in zip(weights, history))
        return state.permute(0, 2, 3, 1).cpu().numpy()

    return draw


def in_bfloat16(torch, net):
    """EDM's preconditioning (arXiv 2206.00364, table 1) in float32 around its network in bfloat16, cast once."""
    inner, sd = copy.deepcopy(net.model).to(torch.bfloat16), net.sigma_data

    def denoise(x, sigma):
        root = (sigma**2 + sd**2).sqrt()
        out = inner((x / root).to(torch.bfloat16), sigma.log().reshape(1) / 4, None)
        return sd**2 / root**2 * x + sigma * sd / root * out.to(torch.float32)

    return denoise
