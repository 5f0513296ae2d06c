"""Deciding, running and telling: the search itself, its record, and what comes out of it."""
