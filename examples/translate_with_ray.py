"""Translate images on a Ray cluster, between any places that fsspec knows.

pip install "cyclegan[cloud,ray]"
python examples/translate_with_ray.py hf:user/name s3://bucket/photos s3://bucket/painted --workers 8 --gpus 1

Each worker loads the model once, and takes the next few images whenever it has finished some, so that slow machines and
large images hold nobody up. Started again, the program translates only what is missing.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before Ray is imported

import ray

from cyclegan import Translator
from cyclegan.system.remote import to_path
from cyclegan.translation.files import Job, find, plan, translate

Batch = dict[str, Any]  # columns of a table


class TranslateImages:
    """A worker. `model` must be at the same place on all machines, or ``hf:user/name``."""

    def __init__(self, model: str, direction: str | None):
        self.translator = Translator.load(model, direction)

    def __call__(self, batch: Batch) -> Batch:
        """Write the results of some images, and say what is wrong with the others."""
        jobs = [Job(to_path(a), to_path(b)) for a, b in zip(batch["source"], batch["target"], strict=True)]
        return {"problem": [problem or "" for problem in translate(self.translator, jobs)]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate all images of INPUT, and print the problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("input", help="folder, pattern or image: an address, or a path that all machines share")
    parser.add_argument("output", help="folder for the results")
    parser.add_argument("--direction")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--gpus", type=float, default=0, help="of each worker; 0.5 lets two share one")
    parser.add_argument("--batch", type=int, default=16, help="images that a worker takes at once")
    given = parser.parse_args(arguments)

    jobs = plan(find([to_path(given.input)]), to_path(given.output), resume=True)
    problems: list[str] = []
    if jobs:
        rows = [{"source": str(job.source), "target": str(job.target)} for job in jobs]
        blocks = -(-len(rows) // given.batch)
        results = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            TranslateImages,
            fn_constructor_args=(given.model, given.direction),
            batch_size=given.batch,
            concurrency=given.workers,
            num_gpus=given.gpus,
        )
        problems = [row["problem"] for row in results.iter_rows() if row["problem"]]
    print("\n".join([*problems, f"{len(jobs) - len(problems)} of {len(jobs)} images translated to {given.output}"]))
    if problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
