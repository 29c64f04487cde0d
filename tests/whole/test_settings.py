"""Every key of the config: its default is fine, and no value that it may not have is taken."""

import dataclasses
import types
import typing

import pytest

import main
from configs import default, did_you_mean
from configs.overrides import overridden, unknown_key, with_integers
from configs.sections import SECTIONS, Run, Speed
from experiments import ALWAYS, EXPERIMENTS
from experiments.build import changed, check_config, settings
from experiments.build.sections import NAMES, as_type, checked
from experiments.support.errors import ConfigError

KINDS = {Run: "", **{kind: name for name, kind in SECTIONS.items()}}
FIELDS = [(kind, field) for kind in KINDS for field in dataclasses.fields(kind)]
BAD = {
    "0": 0,
    "negative": -1,
    "very negative": -(10**13),
    "nan": float("nan"),
    "inf": float("inf"),
    "huge": 10**20,
    "half": 0.5,
    "text": "nonsense",
    "empty": "",
    "empty tuple": (),
    "tuple": (1, 2, 3, 4, 5),
    "tuple of nan": (float("nan"),),
    "true": True,
    "none": None,
    "list in a tuple": ([],),
}


def ids(parameter):
    return parameter if isinstance(parameter, str) else getattr(parameter, "name", getattr(parameter, "__name__", None))


@pytest.mark.parametrize("kind, field", FIELDS, ids=ids)
def test_a_key_has_a_meaning_and_a_default_within_its_bounds(kind, field):
    assert field.metadata["meaning"] and not field.metadata["meaning"].lower().startswith("of which")
    value = checked(kind, {field.name: field.default})[field.name]
    assert value == field.default and type(value) is type(field.default)


@pytest.mark.parametrize("kind, field", FIELDS, ids=ids)
def test_a_bad_value_is_refused_by_name_or_is_within_type_and_bounds(kind, field):
    """Whatever is taken is of the type that is declared, and finite; what is refused names the key and the value."""
    hint = typing.get_type_hints(kind)[field.name]
    wanted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for value in BAD.values():
        try:
            (found,) = checked(kind, {field.name: value}).values()
        except ConfigError as error:
            assert str(error).startswith(f"{NAMES[kind]}{field.name} must be ") and repr(value) in str(error)
            assert "\n" not in str(error)
            continue
        fits = [as_type(found, one) for one in wanted if one is not type(None)]
        assert found is None and type(None) in wanted or found in fits
        assert all(bound.test(found) for bound in field.metadata["bounds"] if found is not None)


@pytest.mark.parametrize("kind, field", FIELDS, ids=ids)
def test_counts_are_positive_and_never_huge(kind, field):
    """No integer is without a bound: what is a count, a size or a seed has at least one."""
    hint = typing.get_type_hints(kind)[field.name]
    if int in (hint, *typing.get_args(hint)):
        for value in (-(10**13), 10**20):
            with pytest.raises(ConfigError):
                checked(kind, {field.name: value})


def small(**changes):
    config = default.get_config()
    with config.ignore_type():
        config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize(
    "experiment, key, value, expected",
    [
        ("speed", "speed.repeats", 0, "speed.repeats must be from 1 to 1,000,000, got 0: choose one within"),
        ("speed", "speed.batch", 0, "speed.batch must be at least 1, got 0: raise it"),
        ("flows_2d", "flows.count", 0, "flows.count must be at least 1, got 0: raise it"),
        ("benchmark", "benchmark.shown", 0, "benchmark.shown must be at least 1, got 0: raise it"),
        ("spectrum", "spectrum.variances", (1e-6, 1e2), "smallest, largest, count, got .*: give 3 values"),
        ("spectrum", "spectrum.variances", (1.0, 1e-2, 9), "smallest, largest, count of at least 2, got"),
        ("benchmark", "nfe", (), "nfe must be 1 or more numbers, at least 1, got ()"),
        ("benchmark", "nfe", (5, 0), "nfe must be 1 or more numbers, at least 1, got"),
        ("benchmark", "mixture.deviations", (0.2, 0.1), "mixture.deviations must be rising, got"),
        ("peers", "peers.shapes", "64x", "peers.shapes must be shapes like 64x32x32x3, samples first, got '64x'"),
        ("peers", "peers.shapes", "9999999x9999999", "peers.shapes must be"),
        ("peers", "peers.batch", 10**20, "peers.batch must be from 0 to 1,000,000, got 1"),
        ("train", "train.label_dropout", 1.5, "train.label_dropout must be from 0 to 1, got 1.5"),
        ("train", "train.learning_rate", float("nan"), "train.learning_rate must be a number, got nan"),
        ("health", "teleport.sigma", 5.0, "teleport.sigma is set, but health does not read it: leave it at None, or"),
    ],
)
def test_what_an_experiment_reads_is_checked_before_it_starts(experiment, key, value, expected):
    with pytest.raises(ConfigError, match=expected.replace("()", r"\(\)")):
        check_config(small(experiment=experiment, **{key: value}), experiment, EXPERIMENTS, ALWAYS)


def test_what_is_not_read_is_not_checked():
    check_config(small(**{"flows.count": 0}), "benchmark", EXPERIMENTS, ALWAYS)


def test_a_section_becomes_its_dataclass():
    config = small(**{"speed.repeats": 7})
    assert settings(config.speed, Speed) == Speed(repeats=7) and hash(Speed(repeats=7)) != hash(Speed())
    assert changed(Speed(), {"batch": 8.0}) == Speed(batch=8)
    with pytest.raises(ConfigError, match="unknown key 'bacth' of speed: known are batch, repeats"):
        changed(Speed(), {"bacth": 8})
    with pytest.raises(ConfigError, match="speed.batch must be at least 1, got 0"):
        changed(Speed(), {"batch": 0})


def test_integers_may_be_written_as_floats():
    config = default.get_config()
    argv = ["main.py", "--config.sample.count=1e3", "--config.sample.batch", "2.0", "--config.ems.error=1e-3"]
    assert with_integers([*argv, "--config.solver.order=3e0"], config) == [
        *("main.py", "--config.sample.count=1000", "--config.sample.batch", "2"),
        *("--config.ems.error=1e-3", "--config.solver.order=3"),
    ]
    assert checked(Run, {"nfe": (5.0, 1e1)})["nfe"] == (5, 10)


def test_keys_of_a_command_line():
    argv = [
        "main.py",
        "--config=a.py",
        "--config.sample.count=3",
        "-config.nfe",
        "5",
        "--noconfig.ems.accept",
        "--workdir=x",
    ]
    assert overridden(argv) == ["sample.count", "nfe", "ems.accept"]
    config = default.get_config()
    assert unknown_key(argv, config) is None
    assert unknown_key(["main.py", "--config.sampel.count=3"], config).endswith("did you mean sample?")
    assert unknown_key(["main.py", "--config.sample.cuont=3"], config).endswith("did you mean count?")
    assert unknown_key(["main.py", "--config.nfe.a=3"], config).endswith("keys of config.nfe are: none: it is a value")
    assert did_you_mean("xyz", ["count"]) == ""


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_registry_names_sections_and_keys_that_there_are(name):
    experiment, config = EXPERIMENTS[name], default.get_config()
    assert experiment.line and len(experiment.line) < 110
    for key in (*experiment.reads, *ALWAYS):
        section, _, inner = key.partition(".")
        assert section in config and (not inner or inner in config[section]), key
    check_config(config, name, EXPERIMENTS, ALWAYS)


def test_a_key_that_is_not_read_is_refused_with_those_who_do():
    assert main.unread("spectrum", ["nfe", "guidance.scale"]).startswith(
        "--config.guidance.scale: spectrum does not read it; these do: benchmark, sample, ems,"
    )
    assert main.unread("spectrum", ["nfe", "schedule.name", "spectrum.variances", "cpu_devices"]) is None
    assert "these do: none" not in "".join(
        main.unread("parity", [f"{name}.{field.name}" if name else field.name]) or ""
        for kind, name in KINDS.items()
        for field in dataclasses.fields(kind)
    )
