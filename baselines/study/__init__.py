"""Is the environment's objective the right one? Hundreds of masks, fine-tuned, against what is known beforehand."""
