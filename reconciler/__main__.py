"""The command's way in: ``reconciler`` and ``python -m reconciler``."""

import sys


def main() -> None:
    """Run the command line and exit with its code. The overview needs no more than its text."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        from reconciler.cli.overview import OVERVIEW  # noqa: PLC0415 - what is not needed to start is not loaded

        sys.stdout.write(OVERVIEW)
        sys.exit(0 if arguments else 64)
    from reconciler.cli.main import run  # noqa: PLC0415

    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
