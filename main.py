"""Run an experiment: python main.py --config=configs/fashion_mnist.py --config.experiment=NAME --config.a.b=value"""

if __name__ == "__main__":  # before the imports, which take a second
    import signal

    from experiments import stop_quietly

    signal.signal(signal.SIGINT, stop_quietly)

import importlib
import json
import os
import re
import runpy
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from configs import did_you_mean
from configs.overrides import overridden, unknown_key, with_integers
from experiments import ALWAYS, EXPERIMENTS, reads

ROOT = Path(__file__).resolve().parent
DEFAULT = "configs/fashion_mnist.py"
INNER = ("default", "overrides")  # files of configs/ that are no configs
OPTIONS = f"""\
  --config=FILE.py[:VARIANT]  config file (default: {DEFAULT}); many have a variant `smoke` that takes seconds
  --config.a.b=value          another value of a key; configs/sections/ has every key with its meaning
  --workdir=DIR               folder of all outputs (default: runs/CONFIG/EXPERIMENT)
  --traceback                 show the whole traceback of an error
  --version, --help, -h"""

config_flags.DEFINE_config_file("config", None, "Config file, FILE.py or FILE.py:variant.")
flags.DEFINE_string("workdir", None, "Folder of all outputs.")
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
    from experiments.support import signals

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signals.stop)
    try:
        check(config)
        set_up_jax(config)
        run_experiment(config, workdir)
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        if flags.FLAGS.traceback:
            raise
        hint = "" if type(error).__name__ == "ConfigError" else " (--traceback shows where)"
        fail(one_line(error) + hint, status=1)


def check(config: ConfigDict) -> None:
    """ConfigError for a value that is read and out of its bounds, or set and not read where that is never meant."""
    from experiments.build import check_config

    check_config(config, config.experiment, EXPERIMENTS, ALWAYS)


def run_experiment(config: ConfigDict, workdir) -> None:
    """Runs `config.experiment` with all its outputs in `workdir`."""
    check(config)
    import jax

    from experiments.data.files import write_json
    from experiments.data.progress import heartbeat
    from experiments.support.processes import together
    from experiments.support.workdir import sole_user

    workdir, first, name = Path(workdir), jax.process_index() == 0, config.experiment
    with ExitStack() as stack:
        if first:
            stack.enter_context(heartbeat(name))
        experiment = importlib.import_module(f"experiments.{EXPERIMENTS[name].module}")
        with together():
            if first:
                stack.enter_context(sole_user(workdir))
            workdir.mkdir(parents=True, exist_ok=True)
            settings = json.loads(config.to_json_best_effort())
            if first and all(path.name[0] == "." for path in workdir.iterdir()):  # else what is there may be another's
                write_json(workdir / "config.json", settings)
        experiment.run(config, workdir)
        with together():
            if first:
                write_json(workdir / "config.json", settings)
    if first:
        names = sorted(path.name for path in workdir.iterdir() if path.name[0] != ".")
        print(f"Outputs are in {workdir}{os.sep}: {', '.join(names)}")


def set_up_jax(config: ConfigDict) -> None:
    """Simulated devices, right sums and the compilation cache; must come before the first use of a device."""
    import jax

    from solvers.backend import set_right_sums

    set_right_sums()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", config.cpu_devices or min(cores, 8))
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compilation_cache).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    c = config.distributed
    if c.coordinator or c.processes != 1 or c.process:
        several = [name for name, experiment in EXPERIMENTS.items() if experiment.several]
        if config.experiment not in several:
            raise ValueError(
                f"experiment={config.experiment} is of one process, only {' and '.join(several)} of several: unset "
                "distributed"
            )
        from experiments.support.processes import join

        join(c.coordinator, c.processes, c.process)


def default_workdir(config_file: str, experiment: str) -> Path:
    path, _, variant = config_file.partition(":")
    return Path("runs") / "-".join(filter(None, (Path(path).stem, variant))) / experiment


def parse(argv):
    """absl's parser, with errors of the config in one line."""
    if {"-h", "--help", "-help", "--version"} & set(argv[1:]):
        print(version() if "--version" in argv else usage())
        raise SystemExit
    if not config_file(argv):
        argv = [argv[0], f"--config={ROOT / DEFAULT}", *argv[1:]]
    config = load_config(argv)
    if wrong := unknown_key(argv, config):
        fail(wrong)
    try:
        rest = flags.FLAGS(with_integers(argv, config))
    except (flags.Error, LookupError, AttributeError, TypeError, ValueError, OSError) as error:
        fail(one_line(error))
    name = flags.FLAGS.config.experiment
    if name not in EXPERIMENTS:
        fail(f"unknown experiment {name!r}: known are {', '.join(EXPERIMENTS)}{did_you_mean(name, EXPERIMENTS)}", 1)
    if wrong := unread(name, overridden(argv)):
        fail(wrong)
    return rest


def unread(name: str, keys) -> str | None:
    """What is wrong with the first of `keys` that the experiment does not read."""
    for key in keys:
        if not reads(name, key):
            readers = [other for other in EXPERIMENTS if reads(other, key)]
            return f"--config.{key}: {name} does not read it; these do: {', '.join(readers) or 'none'}. Leave it out"
    return None


def config_file(argv) -> str | None:
    """FILE.py or FILE.py:variant, as given on the command line."""
    given = re.findall(r"^--?config[=\n](.*)$", "\n".join(argv), re.MULTILINE)
    return given[-1] if given else None


def load_config(argv) -> ConfigDict:
    """The config that the command line names, without its overrides."""
    path, _, variant = config_file(argv).partition(":")
    if not Path(path).is_file():
        known = sorted(f"configs/{p.name}" for p in (ROOT / "configs").glob("[a-z]*.py") if p.stem not in INNER)
        fail(f"no config file {Path(path).resolve()}; this project has {', '.join(known)}{did_you_mean(path, known)}")
    try:
        found = runpy.run_path(path)
        if "get_config" not in found:
            raise ValueError("it has no get_config(), so it is no config file")
        return found["get_config"](*filter(None, [variant]))
    except Exception as error:
        fail(f"{Path(path).resolve()}: {one_line(error) or type(error).__name__}")


def usage() -> str:
    width = max(map(len, EXPERIMENTS))
    lines = [f"  {name:{width}}  {experiment.line}" for name, experiment in EXPERIMENTS.items()]
    return "\n".join([__doc__, "", "Experiments:", *lines, "", "Options:", OPTIONS])


def version() -> str:
    found = re.search(r'__version__ = "(.*)"', (ROOT / "solvers/__init__.py").read_text())
    return f"fast-diffusion-sampling {found[1]}"


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def fail(message: str, status: int = 2):
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
