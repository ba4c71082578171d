"""Launchers: run a plan in isolated worker processes and yield records."""
