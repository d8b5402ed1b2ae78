"""`python -m workerqueue`: the command line."""

from workerqueue.cli import main

if __name__ == "__main__":
    main()
