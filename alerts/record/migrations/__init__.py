"""Migrations: how a record of an earlier program becomes one of this program; numbered, forward only."""
