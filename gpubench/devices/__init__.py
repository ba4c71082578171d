"""Devices: how to describe one, keep time on it and prepare its precisions."""
