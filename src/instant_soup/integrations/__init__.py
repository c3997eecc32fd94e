"""Tickets in training loops and adapters that are not ours."""
