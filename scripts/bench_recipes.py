"""Other ways of doing our work, each in a process of its own.

``python -m scripts.bench_recipes BENCH/ROW`` says ``ready`` when all is imported, reads one
``RecipeTask`` (JSON, a line), does it, says ``done``, and stays until its stdin is closed, so that
it can be measured from ``ready`` to ``done``.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from pipelines.object_store import connect
from scripts.recipe_task import RecipeTask


def main(name: str) -> None:
    """Speak the protocol of this module."""
    bench, _, row = name.partition("/")
    # One bench's recipes alone: what the others import would count as this one's memory.
    recipe, client = getattr(import_module(f"scripts.{bench}_recipes"), row), connect()
    print("ready", flush=True)
    recipe(client, RecipeTask(**json.loads(sys.stdin.readline())))
    print("done", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
