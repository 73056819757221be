"""Victims and their data: attacks, training, what is published, what a judge knows, what a defender has."""
