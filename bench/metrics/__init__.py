"""One file, one metric."""
