"""Run the command line. Holds nothing but the call."""

import sys

from vending.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
