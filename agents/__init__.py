"""Agents: policies that are learned or carry state, all with the signature of `predict` in Stable-Baselines3."""
