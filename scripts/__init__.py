"""Thin commands over the worker; the shells beside them call `python -m scripts.NAME`."""
