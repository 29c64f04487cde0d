"""The model's empirical statistics (EMS)."""

from experiments.ems.find import compute, find_ems, make_plan, read_ems
