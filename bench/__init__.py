"""Timings of eigencontext beside what people use today, at equal checked accuracy: ``python -m bench``."""
