"""Who may import what: the layers of the project."""

import ast
import re
import sys
from pathlib import Path

import pytest

from experiments import EXPERIMENTS
from tests.helpers.places import ROOT

ALLOWED = {
    "configs": {"configs", "ml_collections"},
    "solvers": {"solvers", "numpy", "scipy", "jax"},
    "gaussian": {"gaussian", "solvers", "numpy", "jax", "scipy", "sklearn"},
    "models": {"models", "solvers", "numpy", "ml_dtypes", "jax", "flax", "orbax", "safetensors"},
    "experiments": {
        "experiments",
        "configs.sections",
        "models",
        "gaussian",
        "solvers",
        "numpy",
        "scipy",
        "jax",
        "optax",
        "matplotlib",
        "tqdm",
        "PIL",
        "filelock",
        "threadpoolctl",
    },
    "main.py": {"experiments", "configs", "solvers.backend", "absl", "ml_collections", "jax"},
}
PEERS = ROOT / "experiments/peers/samplers.py"  # the one file that imports what others wrote, where it is installed
LIBRARIES = {"torch", "diffusers", "k_diffusion"}
FILES = [
    (layer, path)
    for layer in ALLOWED
    for path in ([ROOT / layer] if layer.endswith(".py") else (ROOT / layer).rglob("*.py"))
]


def imported(path: Path) -> list[str]:
    """Full names of all that a file imports, anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer they come from"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("layer, path", FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES])
def test_imports_stay_in_their_layer(layer, path):
    for name in imported(path):
        top = name.split(".")[0]
        known = ALLOWED[layer] | (LIBRARIES if path == PEERS else set())
        fine = top in sys.stdlib_module_names or any((name + ".").startswith(allowed + ".") for allowed in known)
        assert fine, f"{path.relative_to(ROOT)} imports {name}; {layer} may import {sorted(ALLOWED[layer])}"


INSIDE_SOLVERS = {  # which folders the files of a folder may import, beside their own and the files of solvers/
    "": set(),
    "builders": set(),
    "ems": {"builders"},
    "model": set(),
}


def test_no_folder_of_solvers_imports_upward():
    """The files of solvers/ know no folder; solvers/__init__.py, the face of the package, is above all of them."""
    folders = {path.parent.name for path in (ROOT / "solvers").glob("*/*.py")}
    assert folders == set(INSIDE_SOLVERS) - {""}, "state here what a new folder may import"
    for path in set((ROOT / "solvers").rglob("*.py")) - {ROOT / "solvers/__init__.py"}:
        own = path.parent.name if path.parent != ROOT / "solvers" else ""
        for name in imported(path):
            top, part = f"{name}.".split(".")[:2]
            if top == "solvers" and part not in INSIDE_SOLVERS[own] | {own}:
                fine = (ROOT / f"solvers/{part}.py").exists()
                assert fine, f"{path.relative_to(ROOT)} imports {name}: it may import {INSIDE_SOLVERS[own]} and files"


FLOORS = (  # of experiments/: a folder imports those of lower floors only
    ("data", "metrics"),
    ("support",),
    ("build",),
    ("sampling", "structure"),
    ("ems", "flows"),
    ("images", "compare", "networks", "checks"),
    ("timing", "peers"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
WITHOUT_FACE = ("data", "metrics", "support")  # whose modules are imported from outside; of others, the folder itself
ONLY = {  # what the lowest floors may import beside libraries
    "data": ("experiments.data", "solvers.npz", "solvers.fingerprint"),
    "metrics": ("experiments.data", "experiments.metrics", "models", "solvers.npz", "solvers.fingerprint"),
}
ROOMS = [(path.parent.name, path) for path in sorted((ROOT / "experiments").glob("*/*.py"))]
RECIPES = {f"experiments.{experiment.module}" for experiment in EXPERIMENTS.values()}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("room, path", ROOMS, ids=[module_of(path) for _, path in ROOMS])
def test_no_room_of_experiments_imports_upward(room, path):
    assert room in FLOOR, f"state here on which floor experiments/{room} is"
    for name in imported(path):
        top, _, inner = name.partition(".")
        if top != "experiments":
            assert (
                room not in ONLY
                or top in sys.stdlib_module_names
                or not (ROOT / top).exists()
                or name.startswith(ONLY[room])
            ), f"{module_of(path)} imports {name}; {room} may import {ONLY[room]}"
            continue
        other = inner.split(".")[0]
        if other == room:
            continue
        fine = FLOOR[other] < FLOOR[room] or (room, other) == ("metrics", "data")
        assert fine, f"{module_of(path)}, on floor {FLOOR[room]}, imports {name} of floor {FLOOR[other]}"
        if other not in WITHOUT_FACE:
            assert not (ROOT / "experiments" / f"{'/'.join(inner.split('.')[:2])}.py").exists(), (
                f"{module_of(path)} imports {name}, a file of another folder: import it from experiments.{other}"
            )


def test_rooms_have_no_circles():
    """Files of a folder may import each other, in one direction."""
    names = {module_of(path): {*imported(path)} for _, path in ROOMS}
    edges = {
        own: {other for other in names if other != own and any(f"{name}.".startswith(f"{other}.") for name in wanted)}
        for own, wanted in names.items()
    }
    faces = {f"experiments.{room}" for room in FLOOR}
    edges = {own: others - faces for own, others in edges.items() if own not in faces}
    while free := {own for own, others in edges.items() if not others & edges.keys()}:
        edges = {own: others for own, others in edges.items() if own not in free}
    assert not edges, f"these import each other: {sorted(edges)}"


@pytest.mark.parametrize("module", sorted(RECIPES))
def test_recipes_import_no_recipe(module):
    path = ROOT / f"{module.replace('.', '/')}.py"
    for name in imported(path):
        assert not {name, name.rpartition(".")[0]} & (RECIPES - {module}), f"{module} imports {name}"


def test_config_is_a_parameter_of_run_and_in_build_only():
    """Below, functions take values: what a function depends on is seen in its parameters."""
    for path in (ROOT / "experiments").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                names = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
                fine = getattr(node, "name", "") == "run" or path.parent.name == "build"
                assert "config" not in names or fine, f"{module_of(path)}:{node.lineno} takes a config"
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "config.experiment":
                raise AssertionError(f"{module_of(path)}:{node.lineno}: config.experiment is read by main.py alone")


@pytest.mark.parametrize("layer", ["solvers", "gaussian", "models"])
def test_no_print_and_no_device_below_experiments(layer):
    for path in (ROOT / layer).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                forbidden = ("print", "jax.device_put", "jax.devices", "jax.local_devices")
                assert name not in forbidden, f"{path.relative_to(ROOT)}:{node.lineno} calls {name}"


def test_config_dict_stops_at_build():
    """Below experiments nothing names ConfigDict or takes a config."""
    for layer in ("solvers", "gaussian", "models"):
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    names = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
                    assert "config" not in names, f"{path.relative_to(ROOT)}: {node.name} takes a config"


EXECUTING = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "torch"}  # they run what a file says


@pytest.mark.parametrize("layer, path", FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES])
def test_nothing_can_execute_a_data_file(layer, path):
    """No unpickling, no evaluation and no arrays of objects in the project; in models no import by name either."""
    forbidden = EXECUTING | ({"importlib", "runpy", "code"} if layer == "models" else set())
    found = {name.split(".")[0] for name in imported(path)} & forbidden - (LIBRARIES if path == PEERS else set())
    assert not found, f"{path.relative_to(ROOT)} imports {found}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "compile", "__import__"}, f"{path}:{node.lineno} calls {name}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False", f"{path}:{node.value.lineno} allows pickles"


def test_peers_are_imported_where_they_are_used():
    """Inside functions, never with the file, and all of them."""
    tree = ast.parse(PEERS.read_text())
    assert LIBRARIES <= {name.split(".")[0] for name in imported(PEERS)}
    at_once = [ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not [line for line in at_once if LIBRARIES & set(re.split(r"\W+", line))]


def test_no_test_needs_torch():
    """Only the scripts that made the files of tests/fixtures do."""
    for path in set((ROOT / "tests").rglob("*.py")) - set((ROOT / "tests/fixtures").rglob("*.py")):
        needed = {name.split(".")[0] for name in imported(path)}
        assert "torch" not in needed, f"{path.relative_to(ROOT)} imports torch"
