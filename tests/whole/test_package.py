"""What `pip install` gives: solvers and gaussian, typed, of one version, beside a user's own packages of any name."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import solvers
from tests.helpers.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MINE = ("models", "configs", "experiments", "tests")  # what a user's folder may hold, too


def test_requirements_are_those_of_the_package():
    """requirements.txt, which a checkout is installed by, and the lists of pyproject.toml do not diverge."""
    listed = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    assert sorted(filter(None, lines)) == sorted(sum(listed, []))


def test_the_package_has_the_version_of_solvers():
    assert re.fullmatch(r"\d+\.\d+\.\d+", solvers.__version__) and "version" in PROJECT["dynamic"]


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The Python of a fresh environment with the wheel; its dependencies are those of the running one."""
    if int(metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("building needs setuptools>=77: install requirements.txt")
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "solvers", "gaussian", "models"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv/bin/python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = folder.glob("venv/lib/python*/site-packages")
    known = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "dependencies.pth").write_text("\n".join(known))
    return python, site


@pytest.mark.deep
def test_wheel_holds_solvers_and_gaussian_alone(installed):
    _, site = installed
    (about,) = site.glob("fast_diffusion_solvers-*.dist-info")
    assert about.name == f"fast_diffusion_solvers-{solvers.__version__}.dist-info"
    assert {path.name for path in site.iterdir()} == {"solvers", "gaussian", about.name, "dependencies.pth"}
    for name in ("solvers", "gaussian"):
        copied = {path.relative_to(site) for path in site.glob(f"{name}/**/*.py")}
        assert copied == {path.relative_to(ROOT) for path in ROOT.glob(f"{name}/**/*.py")}
        assert (site / name / "py.typed").exists()


@pytest.mark.deep
def test_examples_run_beside_packages_of_the_user(installed, tmp_path):
    python, site = installed
    for name in MINE:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("mine = True\n")
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert examples
    imports = "".join(f"import {name}\nassert {name}.mine\n" for name in MINE)
    data = "import jax\ndata = 0.5 * jax.random.normal(jax.random.key(1), (16, 32, 32, 3))\n"
    where = "import solvers, gaussian\nprint(solvers.__file__, gaussian.__file__)\n"
    (tmp_path / "script.py").write_text(imports + data + "".join(examples) + where)
    files = run(python, "script.py", cwd=tmp_path).split()[-2:]
    assert files == [str(site / "solvers/__init__.py"), str(site / "gaussian/__init__.py")]
