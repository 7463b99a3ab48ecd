"""python -m lossref, and the command `lossref`."""

import os

from lossref.hosts.interrupts import answered


def _open_streams() -> None:
    """A standard stream that was closed is nowhere: else what is opened next, a pipe say, would have its number."""
    while (last := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(last)


def main() -> None:
    """Entry point. An interrupt is answered before anything that takes long to import."""
    _open_streams()
    with answered():
        from lossref import cli

        cli.main()


if __name__ == "__main__":
    main()
