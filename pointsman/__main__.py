"""`python -m pointsman`."""

from router.cli import main

main()
