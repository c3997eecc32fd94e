"""Export: what a ticket becomes outside, and checkpoints that are pruned without being loaded."""
