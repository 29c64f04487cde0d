"""Builders of tables, `builder(schedule, grid, prediction="eps", **options) -> Table`; each file is one family."""
