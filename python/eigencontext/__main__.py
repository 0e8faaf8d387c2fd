"""``python -m eigencontext`` and the command ``eigencontext``."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 2 after an error (one line on stderr), or 130 after Ctrl-C."""
    try:
        from ._cli import run

        return run(argv)
    except KeyboardInterrupt:
        print("eigencontext: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
