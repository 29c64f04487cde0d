"""Builders of tables, `builder(schedule, grid, prediction="eps", **options) -> Table`: a file per family of solvers."""
