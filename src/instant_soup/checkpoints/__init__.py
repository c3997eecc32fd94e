"""Checkpoints larger than memory, pruned shard by shard."""
