"""`python -m prune_env` is `prune-env`."""

from __future__ import annotations

import sys

from prune_env.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
