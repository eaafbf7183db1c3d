"""The commands of operators, under `gantry`."""
