"""Figures for print; one file is one figure, found by its name."""
