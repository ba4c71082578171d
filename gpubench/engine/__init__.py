"""The engine: the one measurement loop, the worker process around it, the environment."""
