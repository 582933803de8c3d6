"""The API that people and their programs speak to: incidents, sound, acts, events; each behind a role."""
