"""Workloads: frozen dataclasses of parameters that count, build and check their work."""
