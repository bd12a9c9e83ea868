"""``python -m hwsearch`` is the command ``hwsearch``."""

import sys

from hwsearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
