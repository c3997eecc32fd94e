"""Sweeps: many runs by many processes, and how far they are."""
