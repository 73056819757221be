"""Tabular twins: small victims whose every mask has been evaluated, so that the best answer is known exactly."""
