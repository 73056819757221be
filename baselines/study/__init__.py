"""Is the environment's objective the right one? Hundreds of masks, each fine-tuned, against what is known beforehand."""
