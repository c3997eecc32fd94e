"""``python -m instant_soup`` is the command line."""

from .cli.main import main

main()
