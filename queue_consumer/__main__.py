"""`python -m queue_consumer`: the command line."""

import sys

from queue_consumer.cli import main

if __name__ == "__main__":  # child processes import this file under another name
    sys.exit(main())
