"""Scenes read, made and scored: what a researcher does with the machines of this room."""
