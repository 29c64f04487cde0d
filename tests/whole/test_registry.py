"""The list of experiments: what an experiment reads of the config is what the list says.

Experiments run at smoke size, and each key is noted that they read of the ConfigDict, or of the dataclass of a section.
"""

import dataclasses
import importlib
import sys

import pytest
from ml_collections import ConfigDict

import main
from configs.sections import SECTIONS, Run
from experiments import ALWAYS, EXPERIMENTS, reads
from tests.helpers.places import ROOT

KEYS = {frozenset(f.name for f in dataclasses.fields(kind)): name for name, kind in SECTIONS.items()}
TOP = frozenset(f.name for f in dataclasses.fields(Run))
ALL_KEYS = [*TOP, *(f"{name}.{key}" for keys, name in KEYS.items() for key in keys)]


@pytest.fixture
def read(monkeypatch):
    """The set of keys that are read from now on; a section that is taken whole stands for itself."""
    found, silent = set(), []

    def note(config, key):
        checking = sys._getframe(2).f_code.co_filename.endswith("build/sections.py")  # takes all keys of a section
        if not silent and not checking and isinstance(key, str):
            name = KEYS.get(frozenset(config._fields))
            if name or key in TOP:
                found.add(f"{name}.{key}" if name else key)

    def quiet(owner, name):
        original = getattr(owner, name)

        def wrapped(*arguments, **more):
            silent.append(True)
            try:
                return original(*arguments, **more)
            finally:
                silent.pop()

        monkeypatch.setattr(owner, name, wrapped)

    def whole(owner, name):
        original = getattr(owner, name)

        def wrapped(config, *arguments, **more):
            section = KEYS.get(frozenset(config._fields))
            found.update({section} - {None} if not silent else ())
            return original(config, *arguments, **more)

        monkeypatch.setattr(owner, name, wrapped)

    get = ConfigDict.__getitem__
    for name in ("to_json_best_effort", "copy_and_resolve_references", "__setattr__", "__setitem__"):
        quiet(ConfigDict, name)
    monkeypatch.setattr(ConfigDict, "__getitem__", lambda config, key: (note(config, key), get(config, key))[1])
    for name in ("to_dict", "items"):
        quiet(ConfigDict, name)
        whole(ConfigDict, name)
    for kind, name in {kind: name for name, kind in SECTIONS.items()}.items():
        for field in dataclasses.fields(kind):
            monkeypatch.setattr(kind, field.name, _Noted(f"{name}.{field.name}", found), raising=False)
    return found


class _Noted:
    """An attribute of a dataclass that notes that it is read."""

    def __init__(self, key, found):
        self.name, self.key, self.found = key.rpartition(".")[2], key, found

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        self.found.add(self.key)
        return instance.__dict__[self.name]

    def __set__(self, instance, value):
        instance.__dict__[self.name] = value


CASES = [  # (experiment, config, keys that differ), the least that reads all
    ("benchmark", "toy_gmm", {}),
    ("sample", "toy_gmm", {"solver.name": "UniPC"}),
    ("convergence", "convergence", {}),
    ("spectrum", "spectrum", {}),
    ("flows_2d", "flows_2d", {}),
    ("peers", "peers", {}),
    ("convert", "fashion_mnist", {}),
]
DEEP = [
    ("benchmark", "fashion_mnist", {}),
    ("sample", "fashion_mnist", {"sample.scored": (8,)}),
    ("score", "fashion_mnist", {"images": "{images}"}),
    ("reference", "fashion_mnist", {"images": "{images}", "features": "classifier"}),
    ("ems", "fashion_mnist", {}),
    ("ems", "fashion_mnist", {"ems.rule": "samples", "ems.gaussian_above": 5.0}),
    ("train", "fashion_mnist", {}),
    ("classifier", "fashion_mnist", {}),
    ("speed", "fashion_mnist", {}),
    ("throughput", "fashion_mnist", {}),
    ("health", "fashion_mnist", {}),
    ("fit_gaussian", "fashion_mnist", {}),
    ("score_analysis", "score_analysis", {}),
    ("learning", "learning", {"learning.run": "{run}"}),
    ("trajectories", "fashion_mnist", {"model.labels": "none"}),
    ("teleport", "teleport", {}),
    ("choose_skip", "fashion_mnist", {"nfe": (6,)}),
    ("ems_ablation", "ems_ablation", {}),
]
ORACLE = ("parity", "ems_parity")  # which need a directory of official numbers: tests/experiments/checks/


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """{name: folder} of the runs that others read: images of a run of `sample`, snapshots of one of `train`."""
    folder = tmp_path_factory.mktemp("runs")
    run_smoke("sample", "fashion_mnist", {}, folder / "images")
    run_smoke("train", "fashion_mnist", {"train.snapshots": 3}, folder / "run")
    return {"images": str(folder / "images"), "run": str(folder / "run")}


def run_smoke(experiment, name, changes, workdir):
    config = importlib.import_module(f"configs.{name}").get_config("smoke")
    config.experiment = experiment
    config.update_from_flattened_dict(changes)
    main.run_experiment(config, workdir)


@pytest.mark.parametrize("experiment, name, changes", CASES)
def test_an_experiment_reads_what_the_registry_says(experiment, name, changes, read, tmp_path):
    run_smoke(experiment, name, changes, tmp_path)
    compare(experiment, read)


@pytest.mark.deep
@pytest.mark.parametrize("experiment, name, changes", DEEP)
def test_an_experiment_with_a_network_reads_what_the_registry_says(experiment, name, changes, folders, read, tmp_path):
    changes = {key: value.format(**folders) if isinstance(value, str) else value for key, value in changes.items()}
    run_smoke(experiment, name, changes, tmp_path)
    compare(experiment, read)


OPTIONAL = {  # read where the config asks for it: another kind of model, features, EMS, or several machines
    "mixture", "guidance", "reference", "features", "classifier", "inception", "published", "oracle", "images",
    "distributed", "data.name", "data.path", "teleport.gaussian", "benchmark.reference_nfe", "benchmark.solvers",
    "sample.batch", "sample.devices", "sample.block", "sample.seed", "grid.times",
}  # fmt: skip


IN_PASSING = {  # build reads them for all; where they are not in the list, they change nothing or are refused
    "guidance.scale", "guidance.checkpoint", "guidance.address", "teleport.gaussian", "teleport.sigma",
    "grid.rho", "grid.snap_to", "grid.times",
}  # fmt: skip


def compare(experiment, found):
    """All that is read is in the registry, and of each of its entries something is read, except what is OPTIONAL."""
    assert not [key for key in found - IN_PASSING if not reads(experiment, key)]
    used = found | {key.partition(".")[0] for key in found}
    unused = {key for key in EXPERIMENTS[experiment].reads if key not in used}
    assert not unused - OPTIONAL, unused


def test_every_experiment_is_run_here_or_with_its_oracle():
    assert {case[0] for case in CASES + DEEP} | set(ORACLE) == set(EXPERIMENTS)


def test_the_registry_names_keys_and_modules_that_there_are():
    for name, experiment in EXPERIMENTS.items():
        assert {key for key in experiment.reads if key not in SECTIONS} <= set(ALL_KEYS), name
        path = ROOT / "experiments" / (experiment.module.replace(".", "/") + ".py")
        assert "\ndef run(config, workdir)" in path.read_text(), name
        assert experiment.line and "\n" not in experiment.line
    for key in ALL_KEYS:
        assert any(reads(name, key) for name in EXPERIMENTS), f"no experiment reads {key}"
    assert set(ALWAYS) <= TOP
