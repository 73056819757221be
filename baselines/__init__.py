"""Baselines: the strategies and defences that a table compares, and the benchmark that fills it."""
