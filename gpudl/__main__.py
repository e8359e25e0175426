"""python -m gpudl: the command line."""

import sys

from gpudl.cli import main

if __name__ == "__main__":
    sys.exit(main())
