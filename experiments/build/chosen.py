"""The solver that `sample` and `throughput` run, and everything that defines it."""

from experiments.build.checkpoints import find
from experiments.build.entries import nfes, solver
from experiments.build.problems import Problem
from experiments.build.solver_methods import Method, method
from solvers.fingerprint import checksum_of_file


def chosen(config, problem: Problem, ems=None) -> tuple[Method, dict]:
    """The method of `solver` at the largest `nfe`, and what defines it: plain values, with hashes for files."""
    (label, options), nfe = solver(config), nfes(config)[-1]
    options = problem.tables.resolve(options, nfe, ems)
    name = f"{label}: {options['name']}" if label in ("auto", "teleport") else label
    found = method(problem, name, options, nfe, ems)
    made = {"nfe": nfe, "solver": options, "grid": config.grid.to_dict()} | found.origin()
    gaussian = config.teleport.gaussian if found.start is not None else ""
    return found, made | {"gaussian": gaussian and checksum_of_file(find(gaussian))[:16]}
