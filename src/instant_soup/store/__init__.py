"""The store: one folder a key, with records, bookmarks, trainings and locks."""
