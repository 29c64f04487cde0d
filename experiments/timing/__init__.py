"""How long sampling takes, and what limits it."""
