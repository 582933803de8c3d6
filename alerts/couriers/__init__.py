"""One file for each outside system; none knows another."""
