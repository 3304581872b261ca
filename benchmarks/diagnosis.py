"""How well diagnosis detects issues: sabotaged runs, three seeds each, and the issues found in them.

``python benchmarks/diagnosis.py`` trains all of them, which takes about an hour on one core, and writes the table and
the figures of ``docs/reading-the-curves.md``. It can be stopped at any time; the next start continues.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curves import draw_curves, draw_translations
from cyclegan import diagnose
from results import measure_missing, run_program
from sabotage import SABOTAGES, train_sabotaged

DOCS = Path(__file__).parents[1] / "docs" / "reading-the-curves.md"
BEGIN, END = "<!-- diagnoses: begin -->", "<!-- diagnoses: end -->"


@dataclass(frozen=True)
class Result:
    """The issues found in one run, with their certainty."""

    variant: str
    seed: int
    steps: int
    found: dict[str, str]


def main() -> None:
    """Train the missing runs, diagnose all, and write the table and the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--out", type=Path, default=Path("outputs/diagnosis"), help="folder for data, runs and results"
    )
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--only", nargs="+", choices=SABOTAGES, default=list(SABOTAGES))
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)

    def measure(variant: str, seed: int) -> Result:
        issues = diagnose(train_sabotaged(variant, seed, chosen.out)).issues
        found = {issue.name: str(issue.certainty) for issue in issues}
        print(f"{variant}, seed {seed}: {found}", flush=True)
        return Result(variant, seed, SABOTAGES[variant].steps, found)

    results: list[Result] = []
    for name in chosen.only:
        file = chosen.out / "results.jsonl"
        results += measure_missing(file, Result, [name], chosen.seeds, SABOTAGES[name].steps, measure)
    table = "\n".join(rows(results))
    print(table)
    if chosen.only == list(SABOTAGES) and DOCS.exists():
        text = DOCS.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        DOCS.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
        draw_curves(chosen.out / "runs").savefig(DOCS.with_name("curves.png"))
        draw_translations(chosen.out / "runs").save(DOCS.with_name("issues.jpg"), quality=88)


def rows(results: Sequence[Result]) -> list[str]:
    """The table in Markdown: a row per sabotage, a column per issue by its number."""
    names = [name for name in SABOTAGES if any(r.variant == name for r in results)]
    issues = [s.issue for s in SABOTAGES.values() if s.issue]
    lines = ["| Change | Expected issue | " + " | ".join(str(n + 1) for n in range(len(issues))) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(issues))
    for name in names:
        own = [r for r in results if r.variant == name]
        count = Counter(issue for r in own for issue in r.found)
        expected = SABOTAGES[name].issue
        cells = [(f"**{count[i]}**" if i == expected else f"{count[i]}") if count[i] else "·" for i in issues]
        number = f"{issues.index(expected) + 1}. {expected}" if expected else "–"
        lines.append(f"| {SABOTAGES[name].change} | {number} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    run_program(main)
