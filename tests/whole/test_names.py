"""Public names of the packages: all can be imported, none hides a module, and every one that a message names exists."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import gaussian
import models
import solvers
from tests.helpers.places import ROOT

LIBRARY = (solvers, gaussian, models)
PACKAGES = [package.__name__ for package in LIBRARY] + [
    found.name
    for package in LIBRARY
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if found.ispkg
]
FILES = [path for package in LIBRARY for path in Path(package.__path__[0]).rglob("*.py")]
DOCUMENTED = [*FILES, *(path for name in ("experiments", "configs") for path in (ROOT / name).rglob("*.py"))]
DOCUMENTED += [ROOT / "main.py"]
PROMISED = """
from solvers import EDM, GRIDS, SOLVERS, VP, Flow, Table, VPCosine, VPDiscrete, bind, check_model, classifier_guidance
from solvers import estimate, guided, init_noise, load_ems, sample, save_ems, time_units
from solvers.schedule import EDM, VP, VPCosine, VPDiscrete, Flow
from solvers.grid import GRIDS
from solvers.ems import estimate, load_ems, save_ems
from gaussian import fit_gaussian, fit_mixture, teleport
from models import bind, check_model
import solvers.backend, solvers.npz
"""


def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_has_the_name_of_a_public_function(name):
    """`from solvers import check` would give the module or the function, by what was imported before."""
    package = importlib.import_module(name)
    modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
    public = {key for key, value in vars(package).items() if not isinstance(value, ModuleType) and key[0] != "_"}
    assert not modules & public


@pytest.mark.parametrize("name", ["solvers", "gaussian", "models"])
def test_public_names_in_a_fresh_process(name):
    """As attributes after `import` alone."""
    run(f"import {name}\nfor key in getattr({name}, '__all__', vars({name})): getattr({name}, key)")


def test_promised_names_in_a_fresh_process():
    """What scripts of users rely on."""
    run(PROMISED)


def test_names_in_messages_exist():
    """In every text of the three packages: a message that sends users to solvers.bind, say."""
    found = set()
    for path in FILES:
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        for text in filter(lambda text: isinstance(text, str), texts):
            found |= {
                (path.name, name) for name in re.findall(r"(?<![\w/.])(?:solvers|gaussian|models)(?:\.\w+)+", text)
            }
    assert ("form.py", "solvers.bind") in found
    for file, name in found:
        top, *parts = name.split(".")
        value = importlib.import_module(top)
        for part in parts:
            if isinstance(value, ModuleType) and not hasattr(value, part):
                importlib.import_module(f"{value.__name__}.{part}")
            value = getattr(value, part, None)
            assert value is not None, f"{file} speaks of {name}"


@pytest.mark.parametrize("path", DOCUMENTED, ids=[f"{path.parent.name}/{path.name}" for path in DOCUMENTED])
def test_no_docstring_begins_with_of(path):
    """It says what the thing is, not what it is of."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            assert not (ast.get_docstring(node) or "").startswith("Of "), getattr(node, "name", path.name)
