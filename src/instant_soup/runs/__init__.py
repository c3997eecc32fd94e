"""Runs: draw, fine-tune, evaluate, record; and what that will cost."""
