"""Ranks that hold one model between them: the team, who has which rows, and whether their masks agree."""
