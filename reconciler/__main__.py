"""The command's way in: ``reconciler`` and ``python -m reconciler``."""

import gc
import sys


def main() -> None:
    """Run the command line and exit with its code. The overview needs no more than its text."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        from reconciler.cli.overview import OVERVIEW  # noqa: PLC0415 - what is not needed to start is not loaded

        sys.stdout.write(OVERVIEW)
        sys.exit(0 if arguments else 64)
    if "serve" not in arguments:
        _be_quick()
    from reconciler.cli.main import run  # noqa: PLC0415

    code = run(arguments)
    gc.freeze()  # whatever is still held goes with the process: there is no point in looking through it
    sys.exit(code)


def _be_quick() -> None:
    """Leave out what costs a short-lived process a fifth of its time and gives it nothing."""
    gc.set_threshold(500_000)  # a plan makes many objects and few cycles; the usual 700 is for those who live long
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # httpx's own command, which loads rich


if __name__ == "__main__":
    main()
