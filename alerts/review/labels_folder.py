"""A folder of labels: lines of JSON, a table, the clips, a manifest for the trainer, and a card that tells of them.

What is in it is what somebody reviewed, and that is not what happens in a street: the card says so.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from contextlib import ExitStack
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from alerts.record.ledger import Ledger
from alerts.review.label_card import card
from alerts.review.label_plan import ExportCounts, ExportPlan
from alerts.review.labels import MANIFEST_LABEL, Label, labels_of, pseudonym_key
from alerts.review.reviewed import reviewed
from localization.study.folder import complete

if TYPE_CHECKING:
    from pathlib import Path

    from alerts.record.store import Store

FILES: Final = ("labels.jsonl", "labels.csv", "README.md", "manifest.csv", "audio")
COLUMNS: Final = (
    "clip_sha256", "file", "duration_s", "incident_id", "revision", "shot_ids", "rounds", "class", "is_gunshot",
    "verdict", "standing", "second_because", "listened", "named_then", "first", "first_by", "second", "second_by",
    "supervisor", "supervisor_by", "machine_outcome", "p_gunshot", "llr", "prior", "models", "model_hash",
    "disposition", "discharged_at", "latitude_deg", "longitude_deg",
)  # fmt: skip
MANIFEST: Final = (
    "file", "label", "is_gunshot", "source", "source_file", "licence", "sample_rate", "duration_s", "onset_s",
    "onsets_s", "onset_method", "peak", "fold", "tags",
)  # fmt: skip
"""As `fixtures/builders/classifier.py` reads them."""


def export(store: Store, folder: Path, plan: ExportPlan) -> ExportCounts:
    """Write the labels of a record into a folder, complete or not at all, and say so in the ledger.

    Raises
    ------
    OSError
        When the folder or a clip cannot be written.
    StoreError
        When the record cannot be read.
    """
    counts = ExportCounts()
    is_new = not folder.exists()
    with complete(folder, FILES) as work:
        _write(store, work, plan, counts)
        counts.sha256 = hashlib.sha256((work / FILES[0]).read_bytes()).hexdigest()
        (work / "README.md").write_text(card(plan, counts), encoding="utf-8")
        # Before it appears: an export that nobody knows of would be worse than an entry of one that failed.
        body = json.dumps({"what": "labels", "exact": plan.exact, "audio": counts.copied, **_brief(counts)})
        store.write(lambda connection: Ledger.append(connection, "export", plan.who, "", body.encode(), plan.at_ns))
        for path in work.rglob("*"):  # what people said, and sounds of a street: for nobody else on this machine
            path.chmod(0o700 if path.is_dir() else 0o600)
    if is_new:
        folder.chmod(0o700)
    return counts


def _brief(counts: ExportCounts) -> dict[str, Any]:
    return {"labels": counts.labels, "incidents": counts.incidents, "sha256": counts.sha256}


def _write(store: Store, work: Path, plan: ExportPlan, counts: ExportCounts) -> None:
    key = pseudonym_key(store)
    with ExitStack() as open_files:
        lines = open_files.enter_context((work / "labels.jsonl").open("wb"))
        table = _table(open_files, work / "labels.csv", COLUMNS)
        manifest = _table(open_files, work / "manifest.csv", MANIFEST) if plan.clips is not None else None
        for one in reviewed(store, plan.from_ns, plan.to_ns, plan.modes):
            counts.incidents += 1
            for label in labels_of(one, key, exact=plan.exact):
                _write_label(label, plan, work, counts, lines, table, manifest)


def _write_label(
    label: Label, plan: ExportPlan, work: Path, counts: ExportCounts, lines: IO[bytes], table: Any, manifest: Any
) -> None:
    found = None
    if plan.clips is not None and label.clip_sha256 is not None:
        found = copy_clip(plan.clips, label.clip_sha256, work / "audio", counts)
        label = label if found is None else replace(label, file=f"audio/{label.clip_sha256}.flac")
    counts.labels += 1
    counts.no_clip += label.clip_sha256 is None
    counts.by_class[label.sound or ("not gunfire" if label.is_gunshot is False else "none")] += 1
    counts.by_standing[label.standing] += 1
    counts.by_outcome[label.machine.outcome] += 1
    lines.write(msgspec.json.encode(label) + b"\n")
    table.writerow(_row(label))
    if manifest is not None and found is not None and label.verdict in MANIFEST_LABEL:
        counts.taught += 1
        manifest.writerow(_manifest_row(label, plan, *found))


def copy_clip(clips: Path, sha256: str, into: Path, counts: ExportCounts) -> tuple[int, float] | None:
    """Copy the clip of a digest once it was found to be that; its rate, Hz, and its greatest sample, else None.

    Parameters
    ----------
    clips : Path
        As a centre keeps them: ``<first two digits>/<sha256>.flac``.
    counts : ExportCounts
        Where it is counted as copied, missing or damaged.
    """
    path = clips / sha256[:2] / f"{sha256}.flac"
    if not path.is_file():
        counts.missing += 1
        return None
    flac = path.read_bytes()
    found = _checked(flac, sha256)
    if found is None:
        counts.damaged += 1
        return None
    into.mkdir(exist_ok=True)
    (into / path.name).write_bytes(flac)
    counts.copied += 1
    return found


def _checked(flac: bytes, sha256: str) -> tuple[int, float] | None:
    """The rate and the greatest sample of a clip; None when it is not what its name says."""
    import numpy as np
    import soundfile  # libsndfile is loaded only where sound is read

    from sensors.flac import LARGEST_FLAC_BYTES, digest, values_of

    if len(flac) > LARGEST_FLAC_BYTES:
        return None
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(flac), dtype="int32", always_2d=True)
    except (soundfile.LibsndfileError, ValueError):
        return None
    values = values_of(samples[:, 0] >> 8)
    return (int(rate_hz), float(np.abs(values).max(initial=0.0))) if digest(values) == sha256 else None


def _table(open_files: ExitStack, path: Path, columns: tuple[str, ...]) -> Any:
    writer = csv.writer(open_files.enter_context(path.open("w", encoding="utf-8", newline="")), lineterminator="\n")
    writer.writerow(columns)
    return writer


def _row(label: Label) -> list[str]:
    said = {opinion.role: opinion for opinion in label.opinions}
    words = [
        value
        for role in ("first", "second", "supervisor")
        for value in ((said[role].verdict, said[role].reviewer) if role in said else ("", ""))
    ]
    machine = label.machine
    values: list[Any] = [
        label.clip_sha256, label.file, label.duration_s, label.incident_id, label.revision, " ".join(label.shot_ids),
        label.rounds, label.sound, label.is_gunshot, label.verdict, label.standing, " ".join(label.second_because),
        label.listened, label.named_then, *words, machine.outcome, machine.p_gunshot, machine.llr, machine.prior,
        " ".join(machine.models), machine.model_hash, label.disposition, label.discharged_at, label.latitude,
        label.longitude,
    ]  # fmt: skip
    return [_cell(value) for value in values]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _manifest_row(label: Label, plan: ExportPlan, rate_hz: int, peak: float) -> list[str]:
    verdict = label.verdict or ""
    tags = [
        f"together={label.incident_id}",  # clips of one incident are never on both sides of a division
        f"standing={label.standing}",
        f"listened={int(label.listened)}",
        f"machine={label.machine.outcome}",
    ]
    return [
        label.file,
        next(name for judgement, name in MANIFEST_LABEL.items() if judgement == verdict),
        str(int(label.is_gunshot is True)),
        plan.source,
        label.clip_sha256 or "",
        plan.licence,
        str(rate_hz),
        str(label.duration_s),
        "",  # when the sound of a round reached this sensor is not in the alert: the loudest onset is taken
        "",
        "",
        f"{peak:.4f}",
        label.incident_id,
        " ".join(tags),
    ]
