"""The report over families of victims: rows with hierarchical intervals, contrasts, and the files that show them."""
