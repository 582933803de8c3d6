"""GeoJSON (RFC 7946): places on the Earth, each as a point and as the region that holds it."""

from __future__ import annotations

from typing import Any


def collection(features: list[dict[str, Any]]) -> dict[str, Any]:
    """A feature collection."""
    return {"type": "FeatureCollection", "features": features}


def place_and_region(point: Any, region: Any, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Two features, of a point and of its region (geometries), that share properties; ``part`` tells which is which."""
    return [
        {"type": "Feature", "geometry": point, "properties": about | {"part": "place"}},
        {"type": "Feature", "geometry": region, "properties": about | {"part": "region"}},
    ]
