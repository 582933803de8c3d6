"""Many sensors at once, and the street they stand in: which picks are one bang, where it was, how surely."""
