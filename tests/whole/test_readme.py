"""What the README and docs/ say is so: examples run; commands, keys, paths and links exist; lists are complete."""

import ast
import re
import runpy
import shlex
import sys
from unittest import mock

import jax
import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

import main
import solvers
from configs.default import get_config
from configs.overrides import overridden, with_integers
from configs.sections import SECTIONS, Run
from experiments import ALWAYS, EXPERIMENTS
from experiments.build import check_config
from tests.helpers.places import ROOT

PATHS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in PATHS}
pages = pytest.mark.parametrize("page", PAGES)


def blocks(page, language):
    """The code blocks of a page, also those inside of lists, without their indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGES[page], re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def without_code(text):
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def commands(page):
    """Arguments of main.py in every command line of a page: of its blocks, and between backticks."""
    text = "\n".join(re.sub(r"\\\n", " ", block) for block in blocks(page, "bash"))
    inline = re.findall(r"`([^`]+)`", without_code(PAGES[page]))
    text += "\n" + "\n".join(code.replace("\n", " ") for code in inline)
    for line in text.splitlines():
        words = shlex.split(line, comments=True) if "main.py" in line else []
        if any(word.startswith("--") for word in words):
            yield words[[word.endswith("main.py") for word in words].index(True) + 1 :]


def run_blocks(page):
    """The names that the Python blocks of a page define, one block after the other."""
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    return names


def test_the_readme_is_short():
    assert len(PAGES["README.md"].encode()) <= 10_000


@pytest.mark.parametrize("page", ["README.md", "docs/solvers.md", "docs/ems.md", "docs/teleportation.md"])
def test_examples_sample_the_data_that_they_name(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(page)
    # The solution for data N(0, 1/4) is a factor. 3 %: the error of 6 to 8 evaluations, and of 200 data points.
    deviation = lambda t: np.sqrt(names["schedule"].alpha(t) ** 2 / 4 + names["schedule"].sigma(t) ** 2)  # noqa: E731
    key = jax.random.key(2 if page == "docs/ems.md" else 0)
    exact = deviation(1e-3) / deviation(1.0) * np.asarray(jax.random.normal(key, names["x0"].shape))
    assert np.sqrt(np.mean((names["x0"] - exact) ** 2)) < 0.03 * exact.std()


def test_the_example_of_a_new_solver_is_a_published_one():
    names = run_blocks("docs/solvers.md")
    mine = names["two_step"](names["schedule"], names["grid"])
    options = {"order": 2, "variant": "taylor", "lower_order_final": False}
    theirs = names["SOLVERS"]["dpmpp"](names["schedule"], names["grid"], **options)
    np.testing.assert_allclose(mine.b, theirs.b, rtol=1e-12)


def test_other_examples_run(capsys):
    names = run_blocks("docs/gaussian.md")
    assert names["x"].shape == names["x0"].shape == (9, 6, 6, 1) and names["x_skip"].shape == (6, 6, 1)
    run_blocks("docs/troubleshooting.md")
    assert (
        capsys.readouterr().out.strip()
        == "the model" + PAGES["docs/troubleshooting.md"].split("# the model")[1].split("\n")[0]
    )
    # docs/your_model.md has tests of its own
    with_examples = {"README.md", *(f"docs/{name}.md" for name in ("solvers", "ems", "teleportation", "gaussian"))}
    with_examples |= {"docs/troubleshooting.md", "docs/your_model.md"}
    assert {page for page in PAGES if blocks(page, "python")} == with_examples


@pages
def test_commands_name_configs_experiments_and_keys_that_exist(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for arguments in commands(page):
        arguments = [re.sub(r"=([A-Z])$", "=1", word) for word in arguments]  # N processes, process I
        unknown = [word for word in arguments if not re.match(r"--(config|workdir|traceback)\b", word)]
        assert not unknown, arguments
        if not re.search(r"\b(FILE|KEY|a\.b)\b", " ".join(word for word in arguments if "reference" not in word)):
            accepted(arguments)


def accepted(arguments) -> None:
    """Asserts that main.py takes a command: its experiment reads every key of it, and the values are within bounds."""
    config = parsed(with_integers(["main.py", *arguments], get_config())[1:])
    assert config.experiment in EXPERIMENTS, arguments
    assert main.unread(config.experiment, overridden(["main.py", *arguments])) is None, arguments
    check_config(config, config.experiment, EXPERIMENTS, ALWAYS)


SOURCES = sorted(path for folder in ("configs", "experiments") for path in (ROOT / folder).rglob("*.py"))


def test_commands_in_docstrings_are_accepted(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = 0
    for path in SOURCES:
        text = (ast.get_docstring(ast.parse(path.read_text())) or "").replace("\\\n", " ")
        for line in re.findall(r"python main\.py (.*)", text):
            if "NAME" in line:
                continue
            words = shlex.split(line, comments=True)
            words = [re.sub(r"=([A-Z])$", "=1", word) for word in words if word.startswith("--")]
            accepted(words)
            found += 1
    assert found > 25


def parsed(arguments) -> ConfigDict:
    """The config of a command line; an error for a file, a variant, a key or a type that does not exist."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    with mock.patch("sys.argv", ["main.py", *arguments]):  # where config_flags looks for overrides
        values(sys.argv)
        return values.config


def test_commands_are_found_and_wrong_ones_are_errors(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert sum(len(list(commands(page))) for page in PAGES) > 50
    first, second = blocks("README.md", "bash")[:2]
    for text in ("-m venv .venv", "install -r requirements.txt"):
        assert text in first and text in second
    assert "git clone" in first and "--config=configs/fashion_mnist.py" in first and "-m pytest" in second
    for wrong in ("configs/none.py", "configs/fashion_mnist.py:none"):
        with pytest.raises((OSError, ValueError, flags.Error)):
            parsed([f"--config={wrong}"]).experiment  # noqa: B018
    for wrong in ("none=1", "sample.none=1", "sample.count=many"):
        with pytest.raises((AttributeError, KeyError, ValueError, flags.Error)):
            parsed(["--config=configs/fashion_mnist.py", f"--config.{wrong}"])


@pages
def test_keys_that_are_named_exist(page):
    config = get_config()
    files = ("npz", "png", "json", "csv", "pkl", "md", "py")
    for section, key in re.findall(r"`(?:--config\.)?(\w+)\.(\w+)[`=]", PAGES[page]):
        if section in config and key not in files and f"{section}.{key}" != "gaussian.load_distribution":
            assert key in config[section], f"{section}.{key}"
    for key in re.findall(r"--config\.([a-z_]+)\b", PAGES[page]):
        assert key in config or key == "a", key


@pages
def test_paths_that_are_named_exist(page):
    text = re.sub(r"\]\([^)]*\)|https?://\S+", "", PAGES[page])
    for path in re.findall(
        r"(?<![\w/.-])((?:solvers|gaussian|models|experiments|configs|tests|assets|docs)/[\w./-]*)", text
    ):
        assert (ROOT / path.rstrip(".")).exists(), path


@pages
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[page])):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        generated = name.startswith("api/")
        assert path.exists(), target
        if anchor and not generated:
            headings = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings], (
                target
            )


def test_lists_of_experiments_are_those_of_the_registry():
    generate = runpy.run_path(str(ROOT / "docs/generate.py"))
    for page in generate["PAGES"]:
        assert PAGES[page] == generate["filled"](PAGES[page], EXPERIMENTS), "run: python docs/generate.py"
    assert PAGES["docs/keys.md"] == generate["keys"]({"": Run, **SECTIONS}), "run: python docs/generate.py"


def test_each_experiment_has_its_files_listed():
    listed = re.findall(r"^\| `(\w+)` \| `", PAGES["docs/commands.md"], re.MULTILINE)
    assert sorted(listed) == sorted(EXPERIMENTS)


def test_sections_of_the_config_are_all_listed():
    table = PAGES["docs/commands.md"].partition("| section | keys of |")[2].partition("## ")[0]
    sections = {name for name, value in get_config().items() if isinstance(value, ConfigDict)}
    assert sections - set(re.findall(r"`(\w+)`", table)) == set()


def test_the_citation_has_the_version():
    assert f"\nversion: {solvers.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## Unreleased: {solvers.__version__}\n" in PAGES["CHANGELOG.md"]
