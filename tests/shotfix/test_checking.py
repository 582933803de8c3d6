"""The start of a centre and check-config: the same code, and no range that one takes and the other does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from sensors.nats_link import check_city
from shotfix.charter import Charter, CharterError
from shotfix.checking import check_file, checked_site
from shotfix.commands import main
from shotfix.config import CentreAddress, NatsConfig, SiteConfig, SiteIdentity
from shotfix.config_fields import FieldError, rule_of
from shotfix.toml_file import ConfigError
from tests.cities import small_city
from tests.shotfix.test_centre import write_network

GROUPS = ("place", "air", "policy", "time", "hearing", "record", "listen")
PLAIN = SiteConfig(SiteIdentity("Harbour", Path("data")), Path("network.toml"))


def ends():
    for group in GROUPS:
        record = getattr(PLAIN, group)
        for each in dataclasses.fields(record):
            rule = rule_of(type(record), each)
            yield from ((group, each.name, value) for value in (rule.low, rule.high) if value is not None)


@pytest.fixture(scope="module")
def registry():
    return small_city(6, 5.0).registry


@pytest.mark.parametrize(("group", "key", "value"), list(ends()))
def test_what_the_configuration_takes_a_core_takes(registry, group, key, value):
    """Both ends of every range: refused by the record, which names the key, or good for a centre."""
    record = getattr(PLAIN, group)
    kind = type(getattr(record, key))
    refused = ""
    try:
        changed = dataclasses.replace(record, **{key: int(value) if kind is int else float(value)})
    except ValueError as error:
        refused = str(error)
    if refused:
        assert key in refused
        return
    charter = Charter.of(dataclasses.replace(PLAIN, **{group: changed}))
    if key == "source_height_m":  # says itself that it needs degrees
        with pytest.raises(CharterError, match=key):
            charter.core(registry)
        return
    charter.core(registry)


@pytest.mark.parametrize("city", ["a", "c" * 40, "c" * 41, "c" * 60, "harbour_2-b"])
def test_a_city_has_one_form_everywhere(city):
    try:
        check_city(city)
    except ValueError:
        for make in (NatsConfig, CentreAddress):
            with pytest.raises(FieldError, match="1 to 40"):
                make(url="nats://127.0.0.1:4222", city=city)
    else:
        assert NatsConfig(url="nats://127.0.0.1:4222", city=city).city == city


SITE = """
[site]
name = "Harbour"
data_dir = "data"
[network]
file = "network.toml"
"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "site.toml").write_text(SITE)
    write_network(tmp_path)
    return tmp_path / "site.toml"


def test_what_is_right_is_taken(site):
    assert checked_site(site).site.name == "Harbour"
    assert check_file(site)["problems"] == []


def test_what_the_calendar_leaves_out_is_said_though_nothing_is_wrong(site):
    cancelled = "BEGIN:VEVENT\nUID:a\nSTATUS:CANCELLED\nDTSTART:20260704T210000\nEND:VEVENT"
    (site.parent / "events.ics").write_text(f"BEGIN:VCALENDAR\nVERSION:2.0\n{cancelled}\nEND:VCALENDAR\n")
    site.write_text(f'{SITE}[expected]\ncalendar_file = "events.ics"\n')
    done = CliRunner().invoke(main, ["check-config", str(site)])
    assert done.exit_code == 0
    assert "nothing wrong\n" in done.output
    assert done.output.endswith("30 days ahead: 0 events; left out: 1 cancelled\n")


@pytest.mark.parametrize(
    "wrong", ["[time]\njoin_s = 0\n", "[place]\nsource_height_m = 5\n", "[listen]\ntls_cert_file = 'c'\ntls_key_file = 'c'\n"]
)  # fmt: skip
def test_serve_refuses_what_check_config_refuses(site, wrong):
    (site.parent / "c").write_text("no certificate")
    (site.parent / "c").chmod(0o600)
    site.write_text(SITE + wrong)
    problems = check_file(site)["problems"]
    assert len(problems) == 1
    with pytest.raises(ConfigError) as caught:
        checked_site(site)
    assert str(caught.value) == problems[0]["text"]
    assert not (site.parent / "data" / "journal").exists()


def test_serve_ends_with_78_and_without_a_traceback(site):
    site.write_text(SITE + "[time]\njoin_s = 0\n")
    done = CliRunner().invoke(main, ["serve", "--config", str(site)])
    assert done.exit_code == 78
    assert "time.join_s" in done.output
    assert "Traceback" not in done.output
