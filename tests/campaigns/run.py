"""Run campaigns: ``python tests/campaigns/run.py --seed 0 --rounds 100 --report campaign.json kills disk``."""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads do not survive a fork

from campaigns import faults, hostile, processes, soak

CAMPAIGNS = {
    "kills": faults.kills,
    "disk": faults.disk,
    "memory": faults.memory,
    "processes": processes.processes,
    "clocks": faults.clocks,
    "two at once": faults.two_at_once,
    "hostile input": hostile.hostile_input,
    "numbers": hostile.numbers,
    "soak": soak.soak,
}


def main() -> int:
    """Run the chosen campaigns, print their counts, and return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"all, or some of: {', '.join(CAMPAIGNS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--report", type=Path, help="where to write the counts and failures as JSON")
    options = parser.parse_args()
    if not hasattr(os, "fork"):
        print("The campaigns need os.fork, which this system does not have; nothing was run.")
        return 0
    import torch

    import cyclegan.cli.main
    import cyclegan.evaluation.report.report
    import cyclegan.training.trainer
    import cyclegan.translation.files  # noqa: F401  (imported once, before all forks)

    torch.set_num_threads(1)
    report = {}
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        for name in options.names or CAMPAIGNS:
            began = time.monotonic()
            tally = CAMPAIGNS[name](random.Random(options.seed), options.rounds, Path(folder).resolve())
            seconds = round(time.monotonic() - began, 1)
            report[name] = {**vars(tally), "seconds": seconds}
            counts = ", ".join(f"{count} {what}" for what, count in tally.counts.items())
            print(f"{name}: {counts}; {len(tally.failures)} failures, {seconds} s. {tally.not_run}", flush=True)
            for failure in tally.failures:
                print(f"  {failure}", flush=True)
    if options.report:
        content = {"seed": options.seed, "rounds": options.rounds, "campaigns": report}
        options.report.write_text(json.dumps(content, indent=2) + "\n")
    return int(any(each["failures"] for each in report.values()))


if __name__ == "__main__":
    sys.exit(main())
