"""The keys at the top of the config, and where images and networks come from."""

from dataclasses import dataclass

from configs.sections.fields import POSITIVE, at_least, between, key, several

NVIDIA = "https://api.ngc.nvidia.com/v2/models/nvidia/research"
MOST_DEVICES = 256  # that are simulated on a CPU


@dataclass(frozen=True)
class Run:
    experiment: str = key("benchmark", "one of those that main.py --help lists")
    nfe: int | tuple[int, ...] = key(
        (5, 6, 8, 10), "network evaluations; `sample` and `speed` take the largest", several(POSITIVE)
    )
    images: str = key(
        "",
        "for `ems`: a folder of samples/*.npz, or one file; empty: the training set. For `score` and `reference`: any "
        "images (experiments/data/images.py)",
    )
    features: str = key(
        "auto",
        "distances are in these: classifier | inception | spatial (of Inception, for sFID) | pixels | none; auto: the "
        "classifier where there is one, else Inception for `score` and `reference`, and none elsewhere",
    )
    reference: str = key("", "moments of the data in these features: a path or an address")
    classifier: str = key("", "parameters of the feature network")
    oracle: str = key("", "for `parity`, `ems_parity` and `convergence`: a directory of official samplers' numbers")
    cpu_devices: int = key(
        0, "simulated devices where there is no accelerator; 0: one per core, at most 8", between(0, MOST_DEVICES)
    )
    compilation_cache: str = key("", "a folder: compiled programs are kept there between runs")


@dataclass(frozen=True)
class Data:
    name: str = key("fashion_mnist", "one of experiments/data/datasets.py")
    path: str = key("", "a folder with the data set; empty: the system package, else download")


@dataclass(frozen=True)
class Inception:
    """Inception-v3 of 2015-12-05: any released form of its weights."""

    checkpoint: str = key("", "a file of its weights")
    address: str = key(
        f"{NVIDIA}/stylegan3/versions/1/files/metrics/inception-2015-12-05.pkl",
        "where the publisher has it, if `checkpoint` is empty: downloaded once, into the cache",
    )
    file: str = key("", "its name in the cache; empty: the end of the address")
    sha256: str = key("", "the publisher's, if there is one; else the file's own is recorded at its first use")


@dataclass(frozen=True)
class Distributed:
    """One run on several machines, of `ems` or `sample`: one command for all but for `process`."""

    coordinator: str = key(
        "",
        "host:port, where process 0 listens; empty: one process; auto: as the environment says, "
        "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or Slurm, MPI, Kubernetes, a TPU pod",
    )
    processes: int = key(1, "how many there are", POSITIVE)
    process: int = key(0, "which of them this is", at_least(0))
