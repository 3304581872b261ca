"""Pages for people: the report of a run, the comparison of runs, and their figures."""
