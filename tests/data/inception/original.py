"""The reference implementation in PyTorch: FeatureExtractorInceptionV3 of torch-fidelity (Apache 2.0)."""

import sys
import types
from pathlib import Path

import torch


def original(weights: dict):
    """(network of torch-fidelity, a list that each call adds mixed_6/conv to). Needs torch_fidelity on the path."""
    (folder,) = (Path(entry) / "torch_fidelity" for entry in sys.path if (Path(entry) / "torch_fidelity").is_dir())
    package = types.ModuleType("torch_fidelity")  # without what its __init__ imports
    package.__path__ = [str(folder)]
    sys.modules["torch_fidelity"] = package
    import torch_fidelity.feature_extractor_inceptionv3 as code

    state = {name: torch.tensor(array) for name, array in weights.items()}
    code.load_state_dict_from_url = lambda *args, **kwargs: state
    load = torch.nn.Module.load_state_dict
    code.FeatureExtractorInceptionV3.load_state_dict = lambda self, found: load(self, found, strict=False)
    network, seen = code.FeatureExtractorInceptionV3("seeded", ["2048", "logits_unbiased", "logits"]), []
    network.Mixed_6d.branch1x1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    return network, seen
