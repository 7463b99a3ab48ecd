"""python -m lossref."""

from lossref.cli import main

main()
