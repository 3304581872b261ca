"""Campaigns of injected faults, run by `make campaign`; a quick form of each is in the normal tests."""
