"""Open files: recordings and connections that stay open need more than the usual 1,024 descriptors."""

from __future__ import annotations

from typing import Final

SPARE: Final = 200  # libraries, logs, a record


def allow_open_files(count: int) -> None:
    """Raise the limit of open files so that there is room for so many, as far as this process may."""
    try:
        import resource  # not everywhere
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))
