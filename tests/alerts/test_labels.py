"""Labels: what is exported is what was said, of the sound that was heard, by nobody who can be named."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from acoustic.detection import CLASSES
from acoustic.instant import parse_instant
from alerts.act import JUDGEMENTS
from alerts.alert import Audio, alert_instant
from alerts.hand import NOT_GUNFIRE
from alerts.record.store import Store, StoreError
from alerts.review.findings import Finding
from alerts.review.label_plan import ExportPlan
from alerts.review.labels import CLASS_OF, MANIFEST_LABEL, pseudonym, pseudonym_key
from alerts.review.labels_folder import COLUMNS, FILES, MANIFEST, export
from alerts.review.reviews import ReviewRules, Reviews
from alerts.words import JUDGED
from sensors.flac import steps_of
from sensors.snippet import Snippet
from shotfix.clips import ClipStore
from shotfix.commands_review import labels
from tests.record_stores import burst
from tests.review_nights import REVIEW_LLR, SUPPRESSED_LLR, apply, minutes, tell
from tests.schema_one import build
from tests.sounds import street
from tests.strategies import NIGHT_NS

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 8_000
NIGHT = [
    # name, machine, first, second, supervisor, what was found
    ("a", 6.0, "gunfire", "gunfire", None, "confirmed"),
    ("b", 6.0, "fireworks", "gunfire", None, None),
    ("c", REVIEW_LLR, "gunfire", "vehicle", "vehicle", "unfounded"),
    ("d", REVIEW_LLR, "construction", None, None, None),
    ("e", SUPPRESSED_LLR, "other", "other", None, None),
    ("f", REVIEW_LLR, "unsure", None, None, None),
]
NOW_NS = minutes(600)


def clip(clips, seed):
    """A sound that a centre keeps, as an alert names it; a bang in a street."""
    samples = street(RATE_HZ, 2.0, seed=seed)
    samples[RATE_HZ : RATE_HZ + 40] += 0.5 * np.random.default_rng(seed).standard_normal(40).astype(np.float32)
    one = Snippet.of("roof-1", ("p1",), minutes(seed), RATE_HZ, steps_of(samples))
    assert clips.put(one)
    return Audio(None, one.clip.sha256, alert_instant(one.clip.start_ns), one.clip.duration_s)


@pytest.fixture
def clips(tmp_path):
    return ClipStore(tmp_path / "clips")


def night(store, clips):
    """The reviews of `NIGHT`: the names of its incidents."""
    reviews = Reviews(store, ReviewRules(second_share=1.0))
    names = {}
    for number, (name, llr, first, second, supervisor, found) in enumerate(NIGHT):
        sound = (clip(clips, number),)
        names[name] = incident_id = tell(store, name, 7_200.0 * number, llr=llr, audio=sound)
        act = reviews.judge(incident_id, "ann", NOW_NS, first, expected_version=1, listened=True).act
        apply(store, act, "published" if first == "gunfire" else "suppressed")
        if second:
            reviews.second(incident_id, "bob@city.example", NOW_NS + 1, second)
        if supervisor:
            version = reviews.head(incident_id).version
            reviews.adjudicate(incident_id, "sue", NOW_NS + 2, supervisor, expected_version=version)
        if found:
            reviews.disposition(incident_id, "off-1", NOW_NS + 3, Finding(found))
    return names


def read(folder):
    lines = [json.loads(line) for line in (folder / "labels.jsonl").read_text("utf-8").splitlines()]
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return lines, list(csv.DictReader(file))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as opened:
        yield opened


@pytest.fixture
def exported(tmp_path, clips, store):
    return exported_from(store, tmp_path, clips)


def exported_from(store, tmp_path, clips):
    names = night(store, clips)
    counts = export(store, tmp_path / "out", ExportPlan("sue", NOW_NS, clips.folder))
    return names, counts, tmp_path / "out", store


def test_each_label_is_what_was_said(tmp_path, clips, record_store):
    names, counts, folder, _ = exported_from(record_store, tmp_path, clips)
    lines, rows = read(folder)
    by_incident = {line["incident_id"]: line for line in lines}
    said = {name: by_incident[incident_id] for name, incident_id in names.items()}
    assert {name: (line["verdict"], line["sound"], line["is_gunshot"], line["standing"]) for name, line in said.items()} == {
        "a": ("gunfire", "gunshot", True, "agreed"),
        "b": (None, None, None, "disputed"),
        "c": ("vehicle", "impulse", False, "adjudicated"),
        "d": ("construction", "impulse", False, "single"),
        "e": ("other", None, False, "agreed"),
        "f": ("unsure", None, None, "single"),
    }  # fmt: skip
    assert [opinion["verdict"] for opinion in said["c"]["opinions"]] == ["gunfire", "vehicle", "vehicle"]
    assert [opinion["role"] for opinion in said["c"]["opinions"]] == ["first", "second", "supervisor"]
    # The machine's word is from before anybody judged, not what people made of it.
    assert [said[name]["machine"]["outcome"] for name in "abcdef"] == [
        "published", "published", "review", "review", "suppressed", "review",
    ]  # fmt: skip
    assert said["a"]["machine"]["models"] == ["test-1"]
    assert said["a"]["machine"]["llr"] == pytest.approx(6.0)
    assert (said["a"]["disposition"], said["c"]["disposition"]) == ("confirmed", "unfounded")
    assert all(line["listened"] and line["named_then"] for line in lines)
    assert tuple(rows[0]) == COLUMNS
    assert [row["class"] for row in rows] == [line["sound"] or "" for line in lines]
    assert [row["is_gunshot"] for row in rows] == [{True: "1", False: "0", None: ""}[x["is_gunshot"]] for x in lines]
    assert (counts.labels, counts.incidents, counts.copied, counts.taught) == (6, 6, 6, 3)


def test_nobody_can_be_named_and_nothing_be_placed(exported):
    _, _, folder, store = exported
    text = "".join(path.read_text("utf-8") for path in folder.iterdir() if path.is_file())
    for word in ("ann", "bob", "sue", "off-1"):
        assert f'"{word}' not in text
        assert f",{word}," not in text
    lines, _ = read(folder)
    assert {(line["latitude"], line["longitude"]) for line in lines} == {(41.77, -72.67)}
    assert all(line["discharged_at"].endswith(":00:00Z") for line in lines)
    # The same person has the same name each time, and nobody without the key can try names.
    firsts = {line["opinions"][0]["reviewer"] for line in lines}
    assert firsts == {pseudonym(pseudonym_key(store), "Ann")}
    assert firsts != {pseudonym(bytes(32), "ann")}


def test_exact_places_only_when_they_are_asked_for(tmp_path, clips, store):
    night(store, clips)
    counts = export(store, tmp_path / "exact", ExportPlan("sue", NOW_NS, exact=True))
    lines, _ = read(tmp_path / "exact")
    assert lines[0]["latitude"] == pytest.approx(41.7658, abs=1e-6)
    assert parse_instant(lines[0]["discharged_at"]) % 10**9 != 0
    assert (counts.copied, counts.missing) == (0, 0)
    assert not (tmp_path / "exact" / "audio").exists()
    assert not (tmp_path / "exact" / "manifest.csv").exists()
    *_, entry = Reviews(store).ledger.entries(kinds=("export",))
    assert json.loads(entry.body)["exact"] is True


def test_the_ledger_says_who_exported_what(exported):
    _, counts, folder, store = exported
    (entry,) = Reviews(store).ledger.entries(kinds=("export",))
    body = json.loads(entry.body)
    assert (entry.actor, entry.at_ns, body["labels"], body["sha256"]) == ("sue", NOW_NS, 6, counts.sha256)
    assert counts.sha256 in (folder / "README.md").read_text("utf-8")


def test_a_clip_that_is_gone_or_altered_is_counted_and_left_out(tmp_path, clips, store):
    night(store, clips)
    paths = sorted(clips.folder.glob("*/*.flac"))
    paths[0].unlink()
    paths[1].write_bytes(paths[2].read_bytes())  # a whole FLAC, of something else
    paths[3].write_bytes(b"fLaC" + bytes(100))
    counts = export(store, tmp_path / "out", ExportPlan("sue", NOW_NS, clips.folder))
    assert (counts.copied, counts.missing, counts.damaged) == (3, 1, 2)
    lines, _ = read(tmp_path / "out")
    assert sum(bool(line["file"]) for line in lines) == 3
    kept = sorted(path.name for path in (tmp_path / "out" / "audio").iterdir())
    assert kept == sorted(Path(line["file"]).name for line in lines if line["file"])


def test_it_is_complete_or_not_there(tmp_path, clips, store, monkeypatch):
    night(store, clips)
    monkeypatch.setattr("alerts.review.labels_folder.card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(store, tmp_path / "out", ExportPlan("sue", NOW_NS, clips.folder))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["clips"]
    assert list(Reviews(store).ledger.entries(kinds=("export",))) == []


def test_every_word_has_a_place_among_the_classes():
    assert set(CLASS_OF) == set(JUDGEMENTS)
    assert set(CLASS_OF.values()) - {None} == set(CLASSES)
    assert set(NOT_GUNFIRE) == set(JUDGEMENTS) - {"gunfire", "unsure"}
    assert set(JUDGED) == set(JUDGEMENTS)
    assert set(MANIFEST_LABEL) == {said for said, sound in CLASS_OF.items() if sound is not None}


@pytest.fixture(scope="module")
def trainer():
    """The trainer's own reading code: a script, not of a package."""
    sys.path.insert(0, str(ROOT / "fixtures" / "builders"))
    try:
        import examples  # noqa: PLC0415
    finally:
        sys.path.remove(str(ROOT / "fixtures" / "builders"))
    return examples


def test_the_trainer_reads_it(exported, trainer):
    _, counts, folder, _ = exported
    rows = trainer.read_manifest(folder)
    assert len(rows) == counts.taught == 3
    assert tuple(rows[0]) == MANIFEST
    assert {said: trainer.LABELS[name] for said, name in MANIFEST_LABEL.items()} == {
        said: sound for said, sound in CLASS_OF.items() if sound is not None
    }
    made = trainer.make(folder, trainer.FREE, 0.0, 0, None)
    found = {rows[o.row]["fold"]: (CLASSES[0] if o.sound == "gunshot" else o.sound) for o in made.origins if o.taught}
    lines, _ = read(folder)
    wanted = {x["incident_id"]: x["sound"] for x in lines if x["sound"] and x["file"]}
    assert found == wanted
    assert not made.free.any()  # nobody said under which licence: it measures with them, and learns nothing


def run(*words):
    return CliRunner().invoke(labels, [str(word) for word in words])


def test_the_commands(tmp_path, clips):
    record = tmp_path / "record.db"
    with Store(record) as store:
        night(store, clips)
    done = run(
        "export", "--record", record, "--out", tmp_path / "out", "--audio", clips.folder, "--by", "sue", "--json"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["labels"], said["copied"], said["by_standing"]) == (
        6, 6, {"agreed": 2, "adjudicated": 1, "disputed": 1, "single": 2},
    )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    again = run("export", "--record", record, "--out", tmp_path / "out", "--by", "sue", "--force")
    assert again.exit_code == 0, again.output
    assert "6 labels of 6 incidents" in again.stdout
    done = run("agreement", "--record", record, "--json")
    assert json.loads(done.stdout)["drawn"]["count"] == 4
    assert "kappa" in run("agreement", "--record", record).stdout
    done = run("account", "--record", record, "--from", "2026-11-01T00:00:00Z", "--json")
    assert json.loads(done.stdout)["alerts"] == 3
    assert "confirmed" in run("account", "--record", record).stdout
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "out").rglob("*") if path.is_file()} == {"0o600"}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert run("agreement", "--record", tmp_path / "no.db").exit_code == 2
    assert run("agreement", "--record", "env:NO_SUCH_VARIABLE_HERE").exit_code == 2
    assert run("agreement", "--record", record, "--from", "yesterday").exit_code == 2
    backwards = ("--from", "2026-11-02T00:00:00Z", "--to", "2026-11-01T00:00:00Z")
    for command in ("account", "agreement"):
        done = run(command, "--record", record, *backwards)
        assert (done.exit_code, "exchange them" in done.output) == (2, True)
    assert run("export", "--record", record, "--out", tmp_path / "x", "--audio", "/dev/null").exit_code == 2
    nowhere = run("export", "--record", record, "--out", "/proc/x", "--by", "sue")
    assert isinstance(nowhere.exception, OSError)
    assert str(nowhere.exception).startswith("/proc/x: ")
    assert not (tmp_path / "no.db").exists()
    refused = run("export", "--record", record, "--out", tmp_path / "other", "--by", "two words")
    assert (refused.exit_code, (tmp_path / "other").exists()) == (2, False)
    assert "--by: who is 'two words'" in refused.output
    assert run("export", "--record", record, "--out", tmp_path / "out").exit_code != 0  # it is not empty


def test_a_city_in_another_mode_is_told_that_its_labels_were_left_out(tmp_path, clips):
    record = tmp_path / "record.db"
    with Store(record) as store:
        night(store, clips)
        with store.writing() as connection:
            connection.exec_driver_sql("update incident set mode = 'test'")
    done = run("export", "--record", record, "--out", tmp_path / "out", "--by", "sue")
    assert "0 labels of 0 incidents" in done.stdout
    hint = "left out: 6 judged incidents of mode test; take them in with --mode test"
    for told in (done, run("agreement", "--record", record), run("account", "--record", record)):
        assert hint in told.stdout
    assert json.loads(run("agreement", "--record", record, "--json").stdout)["left_out"] == {"test": 6}
    assert "left out" not in run("agreement", "--record", record, "--mode", "test").stdout


def test_to_count_agreement_changes_nothing_in_a_record(tmp_path):
    """Not a byte, and an older program's is not brought up to date behind its back."""
    old = build(tmp_path / "record.db", burst("a"), NIGHT_NS)
    before = old.read_bytes()
    for command in ("agreement", "account"):
        done = run(command, "--record", old)
        assert isinstance(done.exception, StoreError)
        assert "older program's" in str(done.exception)
    assert old.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["record.db"]


def test_an_empty_record_has_nothing_to_say_and_says_so(tmp_path):
    record = tmp_path / "record.db"
    Store(record).close()
    assert "no pairs" in run("agreement", "--record", record).stdout
    assert "0 alerts" in run("account", "--record", record).stdout
    done = run("export", "--record", record, "--out", tmp_path / "out", "--json")
    assert json.loads(done.stdout)["labels"] == 0
    assert "by class: none" in (tmp_path / "out" / "README.md").read_text("utf-8")
