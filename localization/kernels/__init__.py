"""Numbers and contiguous arrays in, numbers out; compiled once and cached."""
