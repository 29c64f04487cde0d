"""Run an experiment: python main.py --config=configs/fashion_mnist.py [--config.experiment=NAME] [--config.a.b=value]

Experiments:
  benchmark   several solvers at several numbers of network evaluations against a fine reference solution (default)
  sample      images with one solver, in resumable blocks
  ems         the model's empirical statistics, which DPM-Solver-v3 needs
  convert     a publisher's checkpoint (EDM, ScoreSDE, guided diffusion) as a parameter file of this project
  train       train the network
  classifier  train the feature network, and collect the reference moments
  speed       sampling time in units of the bare network's
  throughput  images per second by batch and devices, compilation, and what limits them
  peers       sampling beside diffusers, k-diffusion and official codes, whatever of them is installed
  health      whether the network is a sound function of noise: what statements about solvers rest on
  spectrum    the exact error of each solver on Gaussian data, by variance
  convergence error against the number of evaluations on a closed-form mixture, where it is exact
  fit_gaussian  the Gaussian of the data, or a mixture of them, which teleportation needs
  score_analysis  how Gaussian the network's score is, by noise level
  learning    the same through training, from its snapshots
  trajectories  the network's beside those of closed-form scores, from the same noise
  teleport    what skipping the first part of sampling in closed form costs and saves
  choose_skip  the noise level to teleport a solver to
  flows_2d    Gaussian, mixture and delta flows in the plane, in pictures
  ems_ablation  what DPM-Solver-v3 depends on: statistics by statistics, option by option
  parity      a directory of official numbers, case by case
  ems_parity  the statistics estimated here against those of such a directory
Every key is in configs/default.py with its meaning; a config file may have variants (configs/fashion_mnist.py:smoke).
"""

import importlib
import os
import re
import runpy
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

ROOT = Path(__file__).resolve().parent
DEFAULT = "configs/fashion_mnist.py"
MOST_DEVICES = 256  # that are simulated on a CPU
EXPERIMENTS = {
    "benchmark": "compare.benchmark",
    "sample": "images.sample",
    "score": "images.score",
    "reference": "images.reference",
    "ems": "ems.estimate",
    "convert": "networks.convert",
    "train": "networks.train",
    "classifier": "networks.classifier",
    "speed": "timing.speed",
    "throughput": "timing.throughput",
    "peers": "peers.beside",
    "health": "networks.health",
    "spectrum": "checks.spectrum",
    "convergence": "checks.convergence",
    "parity": "checks.parity",
    "ems_ablation": "compare.ablation",
    "ems_parity": "checks.ems_parity",
    "fit_gaussian": "structure.fit",
    "score_analysis": "structure.analysis",
    "learning": "structure.learning",
    "trajectories": "flows.trajectories",
    "teleport": "compare.teleport",
    "choose_skip": "compare.choose_skip",
    "flows_2d": "flows.plane",
}

config_flags.DEFINE_config_file(
    "config",
    None,
    f"Config file, FILE.py or FILE.py:variant; default: {DEFAULT}. --config.a.b=value overrides a key of it.",
)
flags.DEFINE_string("workdir", None, "Folder of all outputs; default: runs/CONFIG/EXPERIMENT.")
flags.DEFINE_bool("traceback", False, "Show the whole traceback of an error.")


def main(argv):
    config, workdir = flags.FLAGS.config, flags.FLAGS.workdir
    if len(argv) > 1:
        fail(f"unexpected argument {argv[1]!r}: options are --config=, --config.KEY=, --workdir=, --traceback")
    workdir = Path(workdir or default_workdir(flags.FLAGS["config"].config_filename, config.experiment))
    logging.set_verbosity(logging.WARNING)  # without the notes on which accelerators there are not
    if config.compilation_cache or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        # Before jax: jaxlib 0.10.1 logs 10 KB of false errors for each program that a CPU reads from the cache.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from experiments.support import processes

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, processes.stop)
    try:
        set_up_jax(config)
        run_experiment(config, workdir)
    except (ValueError, OSError, ArithmeticError) as error:
        if flags.FLAGS.traceback:
            raise
        hint = "" if type(error).__name__ == "ConfigError" else " (--traceback shows where)"
        fail(one_line(error) + hint, status=1)


def run_experiment(config: ConfigDict, workdir) -> None:
    """Runs `config.experiment` with all its outputs in `workdir`."""
    import jax

    from experiments.support import processes

    if config.experiment not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {config.experiment!r}: known are {', '.join(EXPERIMENTS)}")
    experiment = importlib.import_module(f"experiments.{EXPERIMENTS[config.experiment]}")
    workdir, first = Path(workdir), jax.process_index() == 0
    with ExitStack() as stack:
        with processes.together():
            if first:
                stack.enter_context(processes.sole_user(workdir))
            workdir.mkdir(parents=True, exist_ok=True)
        experiment.run(config, workdir)
    if first:
        names = sorted(path.name for path in workdir.iterdir() if path.name[0] != ".")
        print(f"Outputs are in {workdir}{os.sep}: {', '.join(names)}")


def set_up_jax(config: ConfigDict) -> None:
    """Simulated devices, right sums and the compilation cache; must come before the first use of a device."""
    import jax

    from solvers.backend import set_right_sums

    set_right_sums()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not 0 <= config.cpu_devices <= MOST_DEVICES:
        raise ValueError(f"cpu_devices must be 1 to {MOST_DEVICES}, or 0 for one per core, got {config.cpu_devices}")
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", config.cpu_devices or min(cores, 8))
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compilation_cache).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    c = config.distributed
    if c.coordinator or c.processes != 1 or c.process:
        if config.experiment not in ("ems", "sample"):
            several = "only ems and sample of several: see distributed"
            raise ValueError(f"experiment={config.experiment} is of one process, {several}")
        from experiments.support.processes import join

        join(c.coordinator, c.processes, c.process)


def default_workdir(config_file: str, experiment: str) -> Path:
    path, _, variant = config_file.partition(":")
    return Path("runs") / "-".join(filter(None, (Path(path).stem, variant))) / experiment


def parse(argv):
    """absl's parser, with errors of the config in one line."""
    if not config_file(argv):
        argv = [argv[0], f"--config={ROOT / DEFAULT}", *argv[1:]]
    if missing := no_file(argv):
        fail(missing)
    try:
        return flags.FLAGS(argv)
    except (flags.Error, LookupError, AttributeError, TypeError, ValueError, OSError) as error:
        fail(unknown_key(argv) or one_line(error))


def config_file(argv) -> str | None:
    """FILE.py or FILE.py:variant, as given on the command line."""
    given = re.findall(r"^--?config[=\n](.*)$", "\n".join(argv), re.MULTILINE)
    return given[-1] if given else None


def no_file(argv) -> str | None:
    path = config_file(argv).partition(":")[0]
    known = ", ".join(sorted(f"configs/{p.name}" for p in (ROOT / "configs").glob("*.py") if p.name[0] != "_"))
    return None if Path(path).is_file() else f"no config file {path!r}; this project has {known}"


def load_config(argv) -> ConfigDict:
    """The config that the command line names, without its overrides."""
    path, _, variant = config_file(argv).partition(":")
    return runpy.run_path(path)["get_config"](*filter(None, [variant]))


def unknown_key(argv) -> str | None:
    """What is wrong with the first override that names no key of the config."""
    try:
        config = load_config(argv)
    except Exception:  # the file itself is at fault: absl's message says how
        return None
    for key in re.findall(r"^--?(?:no)?config\.([^=\n]+)", "\n".join(argv), re.MULTILINE):
        section = config
        for depth, part in enumerate(key.split(".")):
            if not isinstance(section, ConfigDict) or part not in section:
                where = ".".join(["config", *key.split(".")[:depth]])
                known = ", ".join(section) if isinstance(section, ConfigDict) else "none: it is a value"
                return f"unknown key {part!r} in --config.{key}; keys of {where} are: {known}"
            section = section[part]
    return None


def one_line(error: Exception) -> str:
    """The message; of one that holds the traceback of a config file, its last line."""
    text = str(error).strip()
    return text.splitlines()[-1] if "Traceback" in text else " ".join(text.split())


def fail(message: str, status: int = 2):
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
