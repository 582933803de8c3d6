"""PyOcto on pulses from a file; runs in an interpreter of its own, since it needs a numpy older than ours.

Usage: python pyocto_rival.py IN.npz OUT.json -- arrays `sensors` (S, 3) m, `times` (P,) s, `owner` (P,), scalars
`speed` m/s and `heard_m`. Writes a list of {name, seconds (CPU of one thread), events: [[pulse, ...], ...]}.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyocto

# Tolerance (s), smallest node (km), how far sensors may hear beyond the true range; n_picks. Chosen by hand, not swept.
CONFIGURATIONS = [
    {"tolerance": 0.01, "node_km": 0.02, "reach": 1.05, "match_s": 0.01},
    {"tolerance": 0.02, "node_km": 0.05, "reach": 1.2, "match_s": 0.02},
    {"tolerance": 0.05, "node_km": 0.05, "reach": 1.05, "match_s": 0.03},
]


def main():
    data = np.load(sys.argv[1])
    wanted = [CONFIGURATIONS[int(k)] for k in data["configurations"]]
    stations = pd.DataFrame(
        {
            "id": [str(k) for k in range(len(data["sensors"]))],
            "x": data["sensors"][:, 0] / 1000.0,
            "y": data["sensors"][:, 1] / 1000.0,
            "z": -data["sensors"][:, 2] / 1000.0,
        }
    )
    picks = pd.DataFrame({"station": data["owner"].astype(str), "phase": "P", "time": data["times"]})
    results = []
    for configuration in wanted:
        associator = build(configuration, stations, float(data["speed"]), float(data["heard_m"]))
        began = time.process_time()
        _, assignments = associator.associate(picks, stations)
        seconds = time.process_time() - began
        events = []
        if len(assignments):
            events = [group["pick_idx"].astype(int).tolist() for _, group in assignments.groupby("event_idx")]
        results.append({"name": str(configuration), "seconds": seconds, "events": events})
    Path(sys.argv[2]).write_text(json.dumps(results), encoding="utf-8")


def build(configuration, stations, speed, heard_m):
    """An associator for one configuration; n_threads and min_interevent_time as a fair race demands."""
    reach_km = heard_m / 1000.0 * configuration["reach"]
    model = pyocto.VelocityModel0D(
        p_velocity=speed / 1000.0,
        s_velocity=speed / 2000.0,
        tolerance=configuration["tolerance"],
        association_cutoff_distance=reach_km,
    )
    x, y = stations["x"], stations["y"]
    return pyocto.OctoAssociator(
        xlim=(x.min() - 0.1, x.max() + 0.1),
        ylim=(y.min() - 0.1, y.max() + 0.1),
        zlim=(-0.003, 0.0),
        velocity_model=model,
        time_before=reach_km / speed * 1000.0 + 0.5,
        min_node_size=configuration["node_km"],
        min_node_size_location=0.002,
        pick_match_tolerance=configuration["match_s"],
        min_interevent_time=0.0,
        n_picks=5,
        n_p_picks=5,
        n_s_picks=0,
        n_p_and_s_picks=0,
        time_slicing=20.0,
        min_pick_fraction=0.25,
        n_threads=1,
    )


if __name__ == "__main__":
    main()
