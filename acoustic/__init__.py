"""What one pressure signal says, and what the air did to it on the way."""
