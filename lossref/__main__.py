"""python -m lossref, and the command `lossref`."""

from lossref.hosts.interrupts import answered


def main() -> None:
    """Entry point. An interrupt is answered before anything that takes long to import."""
    with answered():
        from lossref import cli

        cli.main()


if __name__ == "__main__":
    main()
