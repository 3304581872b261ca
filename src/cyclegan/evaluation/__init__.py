"""How good a translation is, in numbers and on a page."""
