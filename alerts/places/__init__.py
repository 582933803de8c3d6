"""What a city's own files say of its addresses, streets and grounds, made into one file that is asked in a moment."""
