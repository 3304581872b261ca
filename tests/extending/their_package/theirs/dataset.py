"""A data set for `cyclegan data get`."""

from cyclegan.data.get.catalog import Entry

DOTS = Entry(
    name="dots",
    description="red dots (7), blue dots (5)",
    terms="CC0",
    citation="Their Package, 2026",
    size=40_000,  # bytes
    urls=("https://example.org/dots.zip",),
)
