"""Downstream tasks: one file, one task."""
