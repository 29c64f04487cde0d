"""Foreign checkpoints -> parameters. `read.read` turns a file into plain data and executes nothing of it."""
