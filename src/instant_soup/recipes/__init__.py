"""Recipes: everything that a run depends on, from TOML to a content key."""
