"""Export: what a ticket becomes outside, and tickets out of what other tools have made."""
