"""Hydration: a directory to and from a backend. What must hold is in docs/format.md."""
