"""The commands that have a page of their own; `cli.py` has the others, and gathers them."""
