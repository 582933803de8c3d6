"""One device: its place, its clock, and what it heard."""
