"""The command line, as `slotfill` or `python -m slotfill`."""

import sys


def main() -> None:
    """Run a command; Ctrl-C ends it with one line from the first import on."""
    try:
        from slotfill.cli.main import main

        main()
    except KeyboardInterrupt:
        print("slotfill: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
