"""The picture at the top of the README: `make demo`, then `make picture`.

Three test scenes in summer and in winter, drawn large, and between them what the run makes of the summer at the size
it was trained on.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cyclegan import Translator
from cyclegan.data import seasons

CELL, GAP, MARGIN = 300, 6, 150
SEEDS = [seasons.FIRST_TEST_SEED + n for n in (2, 3, 9)]
TRAINED_SIZE = 64


def main(run: Path, out: Path) -> None:
    """Draw, translate, and put together."""
    translator = Translator.load(run, "AtoB")
    rows = {
        "summer": [seasons.draw(seed, "summer", CELL) for seed in SEEDS],
        "translated,\n64×64 pixels": [
            translator.translate(seasons.draw(seed, "summer", TRAINED_SIZE)).resize((CELL, CELL)) for seed in SEEDS
        ],
        "true winter": [seasons.draw(seed, "winter", CELL) for seed in SEEDS],
    }
    size = (MARGIN + len(SEEDS) * (CELL + GAP), len(rows) * (CELL + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=20)
    for row, (heading, images) in enumerate(rows.items()):
        top = row * (CELL + GAP)
        pen.multiline_text(
            (MARGIN - 14, top + CELL / 2), heading, fill="#444444", font=font, anchor="rm", align="right"
        )
        for column, image in enumerate(images):
            sheet.paste(image, (MARGIN + column * (CELL + GAP), top))
    sheet.save(out, quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
