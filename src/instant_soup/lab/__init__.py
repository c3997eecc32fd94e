"""Recipes, runs and results."""
