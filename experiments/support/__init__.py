"""Parts that all experiments use: errors, random numbers, devices, files that survive a kill, tables and pictures."""
