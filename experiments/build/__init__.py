"""Builds values from a config. Code that takes these values never sees a ConfigDict."""

from experiments.build.bases import coordinates, turned
from experiments.build.checkpoints import find, load_checkpoint, locate
from experiments.build.chosen import chosen
from experiments.build.entries import check_options, nfes, solver, solvers
from experiments.build.mixtures import mixture
from experiments.build.networks import Network
from experiments.build.problems import Problem, make_tables, problem
from experiments.build.published import published_numbers, read_published
from experiments.build.schedules import is_guided, schedule, span
from experiments.build.scoring import MAKE, Scorer, frechet, scorer, space
from experiments.build.sections import changed, check_config, settings
from experiments.build.solver_methods import Method, hash_of_ems, make_methods, method, methods
from experiments.build.sources import Source
from experiments.build.tables import Tables
