"""Gantry's tests: unit, functional (the WSGI application), system (real processes), integration, compat."""
