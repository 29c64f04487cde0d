"""The configs of the papers' networks: what they say is what was published, and what is built of them is that.

The lists and numbers below were written down from the papers and their code, apart from the configs.
"""

import csv
import importlib
import json
import re
from urllib.parse import urlsplit

import jax
import numpy as np
import pytest

import main
import models
from configs import default, toy_gmm
from experiments import build
from experiments.support import errors
from models.convert import releases, weights
from solvers import SOLVERS
from solvers.ems import EMS

NAMES = {  # and their variants
    "cifar10": ("cond", "ve", "cond-ve", "jcm", "smoke"),
    "cifar10_score_sde": ("flax", "long", "smoke"),
    "ffhq64": ("ve", "smoke"),
    "afhqv2_64": ("ve", "smoke"),
    "imagenet64": ("stochastic", "smoke"),
    "imagenet256_guided": ("smoke",),
}
ALL = [(name, variant) for name, variants in NAMES.items() for variant in ("", *variants)]
COLUMNS = ("solver", "nfe", "teleport", "rmse", "rmse_median", "rmse_median_se", "images", "seconds")  # of results
OPTIONS = {  # of DPM-Solver-v3 by evaluations: the values of FLAGS
    ("cifar10", ""): {5: (3, True, True, False, True), 6: (3, False, True, False, True)}
    | dict.fromkeys((8, 10, 12, 15, 20, 25), (3, False, False, False, True)),
    ("cifar10_score_sde", ""): {5: (3, True, True, False, False), 10: (3, False, False, False, True)}
    | dict.fromkeys((6, 8), (3, False, True, False, True)),
    ("cifar10_score_sde", "long"): dict.fromkeys((12, 15, 20, 25), (3, False, True, False, True)),
    ("imagenet256_guided", ""): dict.fromkeys((5, 6, 8, 10, 12, 15, 20), (2, False, True, True, True)),
}
FLAGS = ("order", "predictor_pseudo", "corrector", "corrector_pseudo", "lower_order_final")
RANGES = {  # lam at both ends
    ("cifar10", ""): (-4.3820, 6.2146),
    ("cifar10_score_sde", ""): (-5.0250, 4.5577),
    ("cifar10_score_sde", "long"): (-5.0250, 5.7515),
    ("imagenet256_guided", ""): (-5.0588, 4.6051),
}
TABLES = """
cifar10 | Heun | 5 6 8 10 12 15 20 25 | 320.80 103.86 39.66 16.57 7.59 4.76 2.51 2.12
cifar10 | DPM-Solver++(3M) | 5 6 8 10 12 15 20 25 | 24.54 11.85 4.36 2.91 2.45 2.17 2.05 2.02
cifar10 | UniPC-3, bh1 | 5 6 8 10 12 15 20 25 | 23.52 11.10 3.86 2.85 2.38 2.08 2.01 2.00
cifar10 | UniPC-3, bh2 | 5 6 8 10 12 15 20 25 | 23.52 11.10 3.86 2.85 2.38 2.08 2.01 2.00
cifar10 | DPM-Solver-v3 | 5 6 8 10 12 15 20 25 | 12.21 8.56 3.50 2.51 2.24 2.10 2.02 2.00
cifar10 | Heun | 35 | 1.97
cifar10:cond | Heun | 35 | 1.79
cifar10_score_sde | DDIM | 5 6 8 10 | 54.56 41.92 27.51 20.11
cifar10_score_sde | DPM-Solver++(3M) | 5 6 8 10 | 28.53 13.48 5.34 4.01
cifar10_score_sde | UniPC-3, bh1 | 5 6 8 10 | 23.71 10.41 5.16 3.93
cifar10_score_sde | UniPC-3, bh2 | 5 6 8 10 | 23.71 10.41 5.16 3.93
cifar10_score_sde | DPM-Solver-v3 | 5 6 8 10 | 12.76 7.40 3.94 3.40
cifar10_score_sde:long | DDIM | 12 15 20 | 15.64 12.05 9.00
cifar10_score_sde:long | DPM-Solver++(3M) | 12 15 20 25 | 4.04 3.32 2.90 2.76
cifar10_score_sde:long | UniPC-3, bh1 | 12 15 20 25 | 3.88 3.05 2.73 2.65
cifar10_score_sde:long | UniPC-3, bh2 | 12 15 20 25 | 3.88 3.05 2.73 2.65
cifar10_score_sde:long | DPM-Solver-v3 | 12 15 20 25 | 3.24 2.91 2.71 2.64
imagenet256_guided | DPM-Solver++(2M) | 5 6 7 8 10 12 15 20 | 16.87 13.09 11.02 9.95 8.72 8.13 7.73 7.48
imagenet256_guided | UniPC-2, bh2 | 5 6 7 8 10 12 15 20 | 15.62 11.91 10.19 9.29 8.35 7.95 7.64 7.44
imagenet256_guided | DPM-Solver-v3 | 5 6 7 8 10 12 15 20 | 15.10 11.39 9.70 8.96 8.27 7.94 7.62 7.39
imagenet64:stochastic | EDM, stochastic | 511 | 1.36
ffhq64 | Heun | 79 | 2.39
afhqv2_64 | Heun | 5 6 8 10 12 15 20 25 30 35 40 79 | 266.48 62.66 28.10 13.85 7.75 4.81 2.74 2.33 2.14 2.08 2.04 1.96
afhqv2_64 | DPM-Solver++(3M) | 5 6 8 10 12 15 20 25 30 35 40 | 17.66 10.65 4.18 3.12 2.61 2.27 2.10 2.05 2.03 2.02 2.01
afhqv2_64 | UniPC-3, bh1 | 5 6 8 10 12 15 20 25 30 35 40 | 12.91 8.22 4.61 3.84 2.77 2.27 2.07 2.03 2.01 2.00 2.00
afhqv2_64 | UniPC-3, bh2 | 5 6 8 10 12 15 20 25 30 35 40 | 17.33 10.10 4.04 3.42 2.64 2.23 2.07 2.02 2.01 2.00 2.00
"""
DDPMPP = {"name": "song", "channels": 128, "multipliers": (2, 2, 2), "blocks": 4, "attention": (16,)}
NCSNPP = DDPMPP | {"embedding": "fourier", "noise_multiplier": 2, "encoder": "residual", "filter": (1, 3, 3, 1)}
AT_64 = {"resolution": 64, "multipliers": (1, 2, 2, 2)}
AUGMENTED = 9 * 128  # weights of EDM's augmentation labels, which sampling has no use for; twice for NCSN++
PARAMETERS = {  # counted in the original code, and how many fewer there are here
    "EDM CIFAR-10 DDPM++": (DDPMPP | {"resolution": 32}, 55_733_891, AUGMENTED),
    "EDM CIFAR-10 DDPM++, conditional": (DDPMPP | {"resolution": 32, "classes": 10}, 55_735_299, AUGMENTED),
    "EDM CIFAR-10 NCSN++": (NCSNPP | {"resolution": 32}, 56_397_827, 2 * AUGMENTED - 128),  # 128 fixed frequencies
    "EDM 64x64 DDPM++": (DDPMPP | AT_64, 61_805_571, AUGMENTED),
    "EDM 64x64 NCSN++": (NCSNPP | AT_64, 62_761_091, 2 * AUGMENTED - 128),
    "EDM ImageNet-64 ADM": ({"name": "adm", "classes": 1000}, 295_899_267, 0),
    "ScoreSDE DDPM++ deep": (releases.RELEASES["score_sde_ddpmpp_deep"].network, 106_632_579, 0),
    "guided diffusion 256": (releases.RELEASES["guided_256"].network, 553_838_086, 0),
    "guided diffusion 256, unconditional": (releases.RELEASES["guided_256_uncond"].network, 552_814_086, 0),
    "its classifier": (releases.RELEASES["guided_256_classifier"].network, 54_096_360, 0),
}


def load(name, variant=""):
    return importlib.import_module(f"configs.{name}").get_config(variant)


def tables_of(config):
    return build.make_tables(config, build.schedule(config), "x0", build.is_guided(config))


def synthetic(config, nodes=None):
    """Statistics of three pixels on the nodes of the config."""
    schedule = build.schedule(config)
    lam = np.linspace(*schedule.lam(np.array(build.span(config.grid, schedule))), (nodes or config.ems.nodes) + 1)
    rng = np.random.default_rng(0)
    return EMS(lam, *(0.2 * rng.normal(size=(3, len(lam), 3)) + np.array([0.8, 0, 0])[:, None, None]), {})


@pytest.mark.parametrize("name, variant", ALL)
def test_a_config_is_whole(name, variant):
    config = load(name, variant)
    assert config.is_locked and set(config.keys()) == set(default.get_config().keys())
    json.loads(config.to_json_best_effort())
    path = f"configs/{name}.py:{variant}" if variant else f"configs/{name}.py"
    assert config.ems.path == str(main.default_workdir(path, "ems") / "ems.npz")
    labels = [label for label, _ in build.solvers(config)]
    assert {label for label, _ in config.published.rows} <= set(labels)
    assert all((config.published.metric, config.published.source)) or not config.published.rows
    for section in [config.model] + [config.guidance] * (name == "imagenet256_guided"):
        address = urlsplit(section.address)
        assert address.scheme == "https" and address.hostname and not address.query and not section.checkpoint
        assert re.fullmatch(r"\w[\w.-]+", section.file or address.path.rsplit("/", 1)[-1])
        assert section.release in releases.RELEASES if section.release else address.path.endswith(".pkl")


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_is_an_error_that_lists_them(name):
    assert importlib.import_module(f"configs.{name}").VARIANTS == ("", *NAMES[name])
    with pytest.raises(ValueError, match=f"'cnd' of configs/{name}.py: known are {', '.join(NAMES[name])}"):
        load(name, "cnd")


@pytest.mark.parametrize("name, variant", ALL)
def test_all_tables_build(name, variant):
    """At all published numbers of evaluations, the statistics on their nodes, from one end of time to the other."""
    config = load(name, variant)
    ems, shown = synthetic(config), [nfe for _, row in config.published.rows for nfe in row if nfe < 100]
    for nfe in {*config.nfe, *shown} if variant != "smoke" else config.nfe:
        for label, options in build.solvers(config):
            table = tables_of(config).build(options, nfe, ems)
            assert table.nfe == nfe and np.isclose(table.t[0], config.grid.t_start), label


@pytest.mark.parametrize("name, variant", OPTIONS)
def test_dpm_solver_v3_is_the_published_one(name, variant):
    config = load(name, variant)
    schedule, ems = build.schedule(config), synthetic(config)
    np.testing.assert_allclose(ems.lam[[0, -1]], RANGES[name, variant], atol=6e-5)
    grid = {"imagenet256_guided": "t_uniform"}.get(name, "lam_uniform")
    entries = dict(build.solvers(config))
    for nfe, flags in OPTIONS[name, variant].items():
        options = tables_of(config).resolve(entries["DPM-Solver-v3"], nfe, ems)
        assert options["published"] is True and options["name"] == "dpm_v3"
        assert tuple(options[flag] for flag in FLAGS) == flags, nfe
        t = np.linspace(1, 1e-3, nfe + 1) if grid == "t_uniform" else None
        lam = np.linspace(*ems.lam[[0, -1]], nfe + 1) if t is None else schedule.lam(t)
        G = config.ems.nodes
        index = np.round(G * (lam - ems.lam[0]) / (ems.lam[-1] - ems.lam[0])).astype(int)  # the published snapping
        at = schedule.t_of_lam(ems.lam[index])
        plain = dict(zip(FLAGS, flags, strict=True)) | {"variant": "taylor", "published": True}
        expected = SOLVERS["dpm_v3"](schedule, at, prediction="x0", ems=ems, **plain)
        found = tables_of(config).build(entries["DPM-Solver-v3"], nfe, ems)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found, expected)


@pytest.mark.parametrize("line", TABLES.strip().splitlines())
def test_published_numbers(line):
    where, label, nfes, values = (part.strip() for part in line.split("|"))
    config = load(*where.split(":"))
    for nfe, value in zip(nfes.split(), values.split(), strict=True):
        assert build.published_numbers(config).column(label, int(nfe)) == {"published": float(value)}


def test_nothing_else_is_published():
    for name, variant in ALL:
        config, where = load(name, variant), f"{name}:{variant}".rstrip(":").replace(":smoke", "")
        for label, row in config.published.rows:
            lines = [line.split(" | ") for line in TABLES.strip().splitlines()]
            known = [nfes for at, who, nfes, _ in lines if (at, who) == (where, label)]
            assert {str(nfe) for nfe in row} == set(" ".join(known).split()), (name, variant, label)


@pytest.mark.thin(3)
@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_have_the_published_number_of_parameters(name):
    network, published, fewer = PARAMETERS[name]
    shapes = weights.shapes_of(models.build(dict(network)))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == published - fewer


@pytest.mark.parametrize("name, variant", ALL)
def test_sampling_stays_where_a_network_knows_the_noise(name, variant):
    config = load(name, variant)
    if config.model.release:
        schedule = build.schedule(config)
        high, low = np.exp(-schedule.lam(np.array(build.span(config.grid, schedule))))
        known = models.preconditioning({"precondition": releases.RELEASES[config.model.release].precondition})
        assert known.low * (1 - 1e-3) <= low < high <= known.high * (1 + 1e-3)


def test_a_solver_may_be_a_label_of_the_benchmark():
    config = load("cifar10_score_sde")
    config.solver.name = "DPM-Solver-v3"
    label, options = build.solver(config)
    assert label == "DPM-Solver-v3" and options == dict(config.benchmark.solvers)[label]
    config.solver.lower_order_final = config.solver.corrector = True
    label, options = build.solver(config)
    assert label == "DPM-Solver-v3, corrector=True, lower_order_final=True"
    for nfe, pseudo in ((5, True), (10, False)):  # what is set counts at all numbers of evaluations
        found = tables_of(config).resolve(options, nfe, None)
        assert found["corrector"] and found["lower_order_final"] and found["predictor_pseudo"] is pseudo
    assert dict(config.benchmark.solvers)["DPM-Solver-v3"]["at_nfe"][10] == {"corrector": False}, "left as it was"
    config.solver.name = "unipc"
    assert build.solver(config) == ("unipc", {"name": "unipc", "corrector": True, "lower_order_final": True})
    config.solver.name = "DPM-Solver-v4"
    with pytest.raises(errors.ConfigError, match="unknown solver 'DPM-Solver-v4': known are auto.*, DPM-Solver-v3$"):
        build.solver(config)


def small(experiment, **overrides):
    config = toy_gmm.get_config("smoke")
    config.experiment = experiment
    config.benchmark.solvers = (("mine", {"name": "ddim"}), ("theirs", {"name": "unipc"}))
    config.published.rows, config.published.metric, config.published.source = (("theirs", {5: 0.5}),), "FID", "A. B., 7"
    with config.ignore_type():
        config.update_from_flattened_dict(overrides)
    return config


def test_benchmark_shows_published_numbers_in_a_column_of_their_own(tmp_path, capsys):
    main.run_experiment(small("benchmark"), tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert tuple(rows[0]) == (*COLUMNS, "published")
    empty = {(solver, nfe): "" for solver in ("mine", "theirs") for nfe in "58"}
    assert {(r["solver"], r["nfe"]): r["published"] for r in rows} == empty | {("theirs", "5"): "0.5"}
    note = "published: FID (A. B., 7); NOT measured here"
    printed = capsys.readouterr().out
    assert note in printed and note in json.loads((tmp_path / "results.json").read_text())["note"]
    assert "0.5*" not in printed and re.search(r"theirs +\| +5 \|.*\| +0.5\n", printed)


@pytest.mark.parametrize("solver, order, expected", [("theirs", None, 0.5), ("theirs", 2, None), ("unipc", None, None)])
def test_sample_shows_the_published_number_of_the_label_as_it_is(solver, order, expected, tmp_path, capsys):
    main.run_experiment(small("sample", nfe=5, **{"solver.name": solver, "solver.order": order}), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["published"] == expected
    assert ("published: FID" in capsys.readouterr().out) == (expected is not None)


def test_without_published_numbers_there_is_no_column(tmp_path):
    config = small("benchmark", **{"published.rows": ()})
    main.run_experiment(config, tmp_path)
    assert (tmp_path / "results.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert build.published_numbers(config).note(json.loads((tmp_path / "results.json").read_text())["rows"]) == []
