"""Measures how long sampling takes, and what limits it."""
