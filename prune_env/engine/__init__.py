"""Exact accuracy of a model under head masks: one masked forward, its plan of batches, its cache."""
