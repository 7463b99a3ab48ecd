"""python -m lossref, and the command `lossref`."""

from lossref.hosts.interrupts import answered


def main() -> None:
    """Entry point. An interrupt is answered before anything that takes long to import."""
    with answered():
        from lossref.cli import app, plain_output

        plain_output()
        app()


if __name__ == "__main__":
    main()
