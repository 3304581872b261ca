"""Compare methods and their options for equal minutes, with seeds and the scores of doing nothing.

    python benchmarks/methods.py                                   # the built-in set, 5 minutes, three seeds
    python benchmarks/methods.py emoji facades --minutes 30        # and data folders of yours

Each run is trained and measured once and its result stored, so a stopped benchmark continues. The table is written
into docs/methods.md. Let nothing else run meanwhile: slower steps are fewer steps.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclegan.data.get import seasons
from recipes import measure_all, table, write_table
from results import run_program

DOCS = Path(__file__).parents[1] / "docs" / "methods.md"
METHODS: dict[str, dict[str, Any]] = {
    "cyclegan": {},
    "cyclegan, attention": {"generator": "attention"},
    "cyclegan, self-similarity": {"structure": "self_similarity"},
    "cyclegan, mutual information": {"structure": "mutual_information"},
    "dcl": {"method": "dcl"},
    "cut": {"method": "cut"},
    "fastcut": {"method": "fastcut"},
}
MASKED: dict[str, dict[str, Any]] = {"cyclegan, masks": {"masks": "loss"}}  # of the built-in set
PAIRS = (5, 20, 100, 400)


def with_pairs(folder: Path) -> dict[str, dict[str, Any]]:
    """Runs on the built-in set that also have pairs, or pairs only; draws the pairs, which no test scene is among."""
    found: dict[str, dict[str, Any]] = {}
    for count in PAIRS:
        pairs = folder / f"pairs-{count}"
        if not pairs.exists():
            seasons.write_seasons(pairs, train=count, paired=True)
        for method in ("cyclegan", "dcl"):
            found[f"{method}, {count} pairs"] = {"method": method, "pairs": pairs}
        found[f"pix2pix, {count} pairs"] = {"method": "pix2pix", "data": pairs}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what has no result yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*", help="data folders, in addition to the built-in set")
    parser.add_argument("--minutes", type=float, default=5.0, help="minutes of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds for each method")
    parser.add_argument("--folder", type=Path, default=Path("outputs/methods"), help="built-in data, runs and results")
    options = parser.parse_args(arguments)
    folder, built_in = options.folder, options.folder / "seasons"
    if not built_in.exists():
        seasons.write_seasons(built_in, maps=True)
    chosen = measure_all(
        folder, [built_in], METHODS | MASKED | with_pairs(folder), options.seeds, options.minutes
    ) + measure_all(folder, options.data, METHODS, options.seeds, options.minutes)
    write_table(DOCS, "methods", table(chosen))


if __name__ == "__main__":
    run_program(main)
