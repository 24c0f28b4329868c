"""`python -m qdq_cli`: the command where no script of its name is on the path."""

from qdq_cli.main import main

if __name__ == "__main__":
    main()
