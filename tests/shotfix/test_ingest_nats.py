"""The centre's end of NATS: workers that die, stumble, or share a border; hostile nodes; who may say what."""

from __future__ import annotations

import asyncio
import contextlib
import textwrap
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensors.cell import Territory, cells_within
from sensors.nats_link import ANSWER_HEADER, STATUS_HEADER, answer_subject, batch_subject, public_nkey
from sensors.transport import TransportError
from sensors.wire import Batch, Envelope, encode_batch
from shotfix.nats_stream import StreamSettings, durable_name, stream_name
from tests.shotfix.certificates import certificate
from tests.shotfix.fake_centre import FakeCentre
from tests.shotfix.nats_server import NatsServer, need_nats_server, seed_text
from tests.shotfix.stations import (
    BOOT,
    CELL,
    CITY,
    KEY,
    KEYS,
    NOW_NS,
    SMALL,
    NatsStation,
    bang,
    by_nats,
    empty,
    keys_of,
    raw_client,
    sending,
    until,
)

NEXT_CELL, FAR_CELL = "p500_e1_n0", "p500_e9_n0"


def sealed_batch(number):
    return KEY.seal(encode_batch(Batch("node-1", NOW_NS, (Envelope("node-1", BOOT, number, bang(number)),))))


# The worker


def test_what_a_killed_worker_had_in_its_hands_comes_at_once(nats_server, spool):
    """Its time with it (ack_wait_s) is 30 s; nobody waits for that."""
    killed, centre, never = FakeCentre(KEYS), FakeCentre(KEYS), asyncio.Event()
    killed.script.append(never.wait)
    spool.put(bang(0))

    async def play():
        loop = asyncio.get_running_loop()
        async with sending(spool, by_nats(nats_server, 50.0)):
            station = NatsStation(killed.take, nats_server.port)
            task = asyncio.create_task(station.door.run(asyncio.Event()))
            await until(lambda: killed.taken)
            task.cancel()
            await asyncio.wait({task})
            began_s = loop.time()
            async with NatsStation(centre.take, nats_server.port):
                await until(lambda: empty(spool))
            return loop.time() - began_s

    took_s = asyncio.run(play())
    assert centre.taken == keys_of([0])
    assert took_s < 0.8 * SMALL.ack_wait_s


def test_a_worker_whose_disk_is_full_keeps_what_it_has_and_the_order(nats_server, spool):
    settings = StreamSettings(max_age_s=600.0, max_bytes=100_000_000, ack_wait_s=1.0)
    centre = FakeCentre(KEYS)
    centre.script.extend([503] * 5)

    async def play():
        async with (
            NatsStation(centre.take, nats_server.port, settings=settings) as station,
            sending(spool, by_nats(nats_server, 20.0)) as uplink,
        ):
            for number in range(5):
                uplink.put(bang(number))
            await until(lambda: empty(spool))
            assert station.door.counts.unavailable == 5
            assert station.door.counts.judged == station.door.counts.answered

    asyncio.run(play())
    assert centre.taken == keys_of(range(5))
    assert centre.repeated == 0  # 2.5 s, while the stream would give it to another after 1 s of silence


def test_our_own_mistake_stops_neither_the_stream_nor_the_rest(nats_server, spool, monkeypatch):
    monkeypatch.setattr("shotfix.ingest_nats.RETRY_S", 0.01)
    centre = FakeCentre(KEYS)

    async def take(sealed):
        batch = centre.keyring.open_batch(sealed)
        if any(envelope.content.pulse_id == "p0" for envelope in batch.envelopes):
            raise ZeroDivisionError
        return await centre.take(sealed)

    async def play():
        async with NatsStation(take, nats_server.port) as station, raw_client(nats_server) as client:
            await station.connected()
            for number in range(3):
                await client.jetstream().publish(batch_subject(CITY, CELL, "node-1"), sealed_batch(number))
            await until(lambda: len(centre.taken) == 2)
            assert (station.door.counts.failed, station.door.counts.given_up) == (3, 1)

    asyncio.run(play())


def test_on_a_border_both_workers_hear_and_one_answers(nats_server, spool):
    left, right, far = FakeCentre(KEYS), FakeCentre(KEYS), FakeCentre(KEYS)
    assert NEXT_CELL in cells_within(CELL, 400.0)

    async def play():
        async with contextlib.AsyncExitStack() as stack:
            doors = []
            for name, centre, cell in (("w1", left, CELL), ("w2", right, NEXT_CELL), ("w3", far, FAR_CELL)):
                territory = Territory(frozenset({cell}), 400.0)
                station = NatsStation(centre.take, nats_server.port, name, territory)
                doors.append((await stack.enter_async_context(station)).door)
            await until(lambda: all(door.counts.connected for door in doors))
            async with sending(spool, by_nats(nats_server)) as uplink:
                for number in range(10):
                    uplink.put(bang(number))
                await until(lambda: empty(spool) and len(right.taken) == 10)
            return [door.counts for door in doors]

    one, two, three = asyncio.run(play())
    assert left.taken == right.taken == keys_of(range(10))
    assert far.taken == []
    assert one.answered == one.judged > 0
    assert (two.answered, three.judged) == (0, 0)
    assert two.judged == one.judged


def test_a_neighbour_that_was_away_still_hears_what_was_said(nats_server, spool):
    """The owner answered and the node forgot it: the stream has it for the neighbour."""
    owner, neighbour = FakeCentre(KEYS), FakeCentre(KEYS)
    beside = Territory(frozenset({NEXT_CELL}), 400.0)

    async def play():
        async with (
            NatsStation(owner.take, nats_server.port, "w1", Territory(frozenset({CELL}), 400.0)),
            sending(spool, by_nats(nats_server)) as uplink,
        ):
            for number in range(10):
                uplink.put(bang(number))
            await until(lambda: empty(spool))
        async with NatsStation(neighbour.take, nats_server.port, "w2", beside):
            await until(lambda: len(neighbour.taken) == 10)

    asyncio.run(play())
    assert neighbour.taken == keys_of(range(10))


def test_a_worker_that_is_new_to_a_cell_does_not_tell_its_past_again(nats_server, spool):
    before, after = FakeCentre(KEYS), FakeCentre(KEYS)
    from_now_on = StreamSettings(max_age_s=600.0, max_bytes=100_000_000, look_back_s=0.0)

    async def play():
        async with sending(spool, by_nats(nats_server)) as uplink:
            async with NatsStation(before.take, nats_server.port, "w1"):
                uplink.put(bang(0))
                await until(lambda: empty(spool))
            async with NatsStation(after.take, nats_server.port, "w2", settings=from_now_on) as station:
                await station.connected()
                uplink.put(bang(1))
                await until(lambda: empty(spool))

    asyncio.run(play())
    assert (before.taken, after.taken) == (keys_of([0]), keys_of([1]))


def test_a_worker_that_gives_up_cells_leaves_no_consumer_behind(nats_server):
    def consumers_after(worker, cells):
        async def play():
            territory = Territory(frozenset(cells), 0.0)
            async with NatsStation(FakeCentre(KEYS).take, nats_server.port, worker, territory) as station:
                await station.connected()
            async with raw_client(nats_server) as client:
                return {info.name for info in await client.jetstream().consumers_info(stream_name(CITY))}

        return asyncio.run(play())

    far, other = durable_name("w1", FAR_CELL), durable_name("w1-2", FAR_CELL)
    assert far in consumers_after("w1", {CELL, FAR_CELL})
    assert {far, other} <= consumers_after("w1-2", {FAR_CELL})
    left = consumers_after("w1", {CELL})
    assert far not in left
    assert {other, durable_name("w1", CELL)} <= left


def test_no_node_has_the_centre_speak_to_another(nats_server):
    """What a node names as its answer's subject is used only when it is its own."""
    centre = FakeCentre(KEYS)
    victim = answer_subject(CITY, "node-2", "a" * 32)
    mine = answer_subject(CITY, "node-1", "a" * 32)
    wanted = [victim, "$JS.API.STREAM.DELETE.x", "shotfix.harbour.x.y", mine[:-30] + "*", mine + ".x", "", mine]
    heard = []

    async def hear(message):
        heard.append((message.subject, message.headers[STATUS_HEADER]))

    async def play():
        async with NatsStation(centre.take, nats_server.port) as station, raw_client(nats_server) as client:
            await station.connected()
            await client.subscribe("shotfix-answer.>", cb=hear)
            for number, subject in enumerate(wanted):
                headers = {ANSWER_HEADER: subject} if subject else None
                where = batch_subject(CITY, CELL, "node-1")
                await client.jetstream().publish(where, sealed_batch(number), headers=headers)
            await until(lambda: len(centre.taken) == len(wanted) and heard)
            assert station.door.counts.answered == 1

    asyncio.run(play())
    assert heard == [(mine, "200")]


# Who may enter


def permitted(root, centre, node):
    """The permissions that docs/transports.md prescribes, for these users."""
    text = (root / "docs" / "transports.md").read_text(encoding="utf-8")
    block = textwrap.dedent(text[text.index("    authorization {") : text.index("This matters:")])
    for shown, ours in {"UC...": centre, "UA...": node, "roof-7": "node-1", "w2000_7321_4456": CELL}.items():
        assert shown in block
        block = block.replace(shown, ours)
    return block


def nkey_file(path):
    seed = Ed25519PrivateKey.generate().private_bytes_raw()
    path.write_text(seed_text(seed) + "\n", encoding="ascii")
    return public_nkey(seed)


def test_each_user_needs_only_its_own_subjects_and_nobody_else_gets_in(tmp_path, root):
    need_nats_server()
    public = {name: nkey_file(tmp_path / name) for name in ("centre", "node", "stranger")}
    server = NatsServer(tmp_path, permitted(root, public["centre"], public["node"]))
    server.start()
    centre = FakeCentre(KEYS)

    async def play():
        async with NatsStation(centre.take, server.port, credentials_file=tmp_path / "centre") as station:
            await station.connected()
            mine = by_nats(server, credentials_file=tmp_path / "node")
            assert await mine.exchange(sealed_batch(0))
            await mine.close()
            elsewhere = by_nats(server, 1.0, NEXT_CELL, credentials_file=tmp_path / "node")
            with pytest.raises(TransportError, match="ermissions"):
                await elsewhere.exchange(sealed_batch(1))
            await elsewhere.close()
            for seed in (tmp_path / "stranger", None):
                stranger = by_nats(server, credentials_file=seed)
                with pytest.raises(TransportError, match="lets us in"):
                    await stranger.exchange(sealed_batch(2))

    try:
        asyncio.run(play())
    finally:
        server.kill()
    assert centre.taken == keys_of([0])


def test_by_tls_only_the_pinned_certificate_is_believed(tmp_path):
    need_nats_server()
    ours, theirs = certificate(tmp_path, "ours"), certificate(tmp_path, "theirs")
    server = NatsServer(tmp_path / "nats", f'tls {{ cert_file: "{ours.certificate}", key_file: "{ours.key}" }}\n')
    server.start()

    async def tried(**login):
        transport = by_nats(server, 3.0, **login)
        try:
            with pytest.raises(TransportError) as caught:
                await transport.exchange(sealed_batch(0))
            return str(caught.value)
        finally:
            await transport.close()

    try:
        assert "no stream takes" in asyncio.run(tried(scheme="tls", ca_file=ours.certificate))
        assert "CERTIFICATE_VERIFY_FAILED" in asyncio.run(tried(scheme="tls", ca_file=theirs.certificate))
        assert "lets us in" in asyncio.run(tried())
    finally:
        server.kill()


def test_a_line_from_which_tls_was_taken_out_is_told_nothing(tmp_path):
    """Somebody in between who offers no TLS would get the password, and could answer in the centre's place."""
    (tmp_path / "password").write_text("hunter2")
    heard = bytearray()

    async def between(reader, writer):
        writer.write(b'INFO {"server_id":"x","version":"2.9.10","max_payload":1048576,"tls_required":false}\r\n')
        while piece := await reader.read(1_000):
            heard.extend(piece)
        writer.close()

    async def play():
        server = await asyncio.start_server(between, "127.0.0.1", 0)
        where = SimpleNamespace(address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        transport = by_nats(where, 5.0, scheme="tls", user="me", password_file=tmp_path / "password")
        with pytest.raises(TransportError, match="the server offers no TLS"):
            await transport.exchange(sealed_batch(0))
        await transport.close()
        await asyncio.sleep(0.1)
        server.close()
        await server.wait_closed()

    asyncio.run(play())
    assert heard == b""
