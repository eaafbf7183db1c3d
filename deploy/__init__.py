"""How Gantry is started: the set-up script, the servers' settings, `make run` and `make demo`."""
