"""Throws damaged and malicious bytes at everything that reads from the network, in a process with little memory.

    python -m tests.fuzz_wire COUNT SEED

Prints one JSON object: how many inputs were taken and refused, and the longest that one took. Ends with an error at
the first input that raises anything else than it may, or takes more than a second of the processor.
"""

from __future__ import annotations

import copy
import json
import math
import random
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from sensors.identity import IdentityError, Keyring, NodeKey
from sensors.wire import (
    LARGEST_ACK_BYTES,
    LARGEST_BATCH_BYTES,
    Ack,
    Batch,
    WireError,
    decode,
    decode_ack,
    decode_batch,
    decode_batch_json,
    encode,
    encode_ack,
    encode_batch,
    encode_batch_json,
)
from tests import messages

LONGEST_S = 1.0
MEMORY_BYTES = 512 * 2**20
EVIL = (
    0, 1, -1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1e308, -0.0, math.nan, math.inf, -math.inf,
    5e-324, None, True, False, "", "\x00", "\x1b[2J", "a" * 101, "\U0001f4a5" * 100, "\ud7ff", b"", b"\x00" * 1000, [], {},
    [None], [[[[[]]]]], {"": {}}, "1", "NaN", [0] * 5_000, {str(k): k for k in range(500)},
)  # fmt: skip


class TooLong(BaseException):
    """One input took more than its time; no handler of an ordinary error may hide it."""


def too_long(*_):
    raise TooLong


def samples(key):
    """What each reader reads, as its writer writes it."""
    whole = messages.one_of_each()
    one = [messages.batch(envelope.content) for envelope in whole.envelopes]
    golden = json.loads(Path("fixtures/wire/version-1.json").read_text(encoding="utf-8"))
    v1 = [bytes.fromhex(each["msgpack_hex"]) for each in golden]
    sealed = [key.seal(encode_batch(batch)) for batch in (whole, *one)]
    return {
        decode_batch: [encode_batch(whole), *map(encode_batch, one), *v1],
        decode_batch_json: [encode_batch_json(whole), *map(encode_batch_json, one)],
        decode: [*v1, *(encode(envelope) for envelope in whole.envelopes)],
        decode_ack: [
            encode_ack(Ack("c1", messages.NIGHT_NS)),
            encode_ack(Ack("c1", messages.NIGHT_NS, (0, 4), {messages.BOOT: 17})),
        ],
        Keyring({messages.NODE: key.public_text}).open_batch: sealed,
    }


def bombs(largest):
    """Inputs that are made to cost much."""
    yield b"\x91" * largest  # arrays in arrays
    yield b"\x81\xa1a" * (largest // 3)  # maps in maps
    yield b"[" * largest
    yield b'{"a":' * (largest // 5)
    for head in (b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"):  # a length of 4 GB in a few bytes
        yield head + b"\xff\xff\xff\xff"
        yield b"\x84\xa7version\x02\xa7node_id" + head + b"\xff\xff\xff\xff" + b"\x00" * 20
    yield b"\x84\xa7version\x02\xa8messages\xdd\x00\x0d\xbb\xa0" + b"\x80" * (largest - 30)
    yield b"\x84\xa7version\x02\xa4held\xdd\x00\x0d\xbb\xa0" + b"\x00" * (largest - 30)
    yield b"\xde\xff\xff" + b"\xa7version\x02" * (largest // 9)
    yield b'{"version":' + b"9" * (largest - 20) + b"}"
    yield b'{"version":2,"sent_ns":1e' + b"9" * (largest - 40) + b"}"
    yield b'{"version":2,"node_id":"' + b"\\u0000" * (largest // 6 - 10) + b'"}'


def leaves(value, path=()):
    """Where in a message something can be changed."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(inner, (*path, key))


def changed_inside(message, rng, code):
    """The same message with some of its values replaced, removed, doubled or renamed."""
    value = code.decode(message)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice([path for path in leaves(value) if path] or [()])
        if not path:
            break
        place = value
        for key in path[:-1]:
            place = place[key]
        how = rng.randrange(5)
        if how == 0 and isinstance(place, dict):
            del place[path[-1]]
        elif how == 1 and isinstance(place, dict):
            place[rng.choice(["extra", "", "version", "boot_id", "chunk"])] = copy.deepcopy(rng.choice(EVIL))
        elif how == 2 and isinstance(place, list):
            place *= rng.randint(2, 50)
        else:
            place[path[-1]] = copy.deepcopy(rng.choice(EVIL))
    return code.encode(value)


def flipped(message, rng):
    """The same bytes with some changed, cut, doubled or put in."""
    altered = bytearray(message)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(altered) + 1)
        how = rng.randrange(5)
        if how == 0 and altered:
            altered[at % len(altered)] = rng.randrange(256)
        elif how == 1 and altered:
            altered[at % len(altered)] ^= 1 << rng.randrange(8)
        elif how == 2:
            del altered[at : at + rng.randint(1, 30)]
        elif how == 3:
            altered[at:at] = rng.randbytes(rng.randint(1, 10))
        else:
            altered[at:at] = altered[max(at - rng.randint(1, 200), 0) : at]
    return bytes(altered)


def mutated(message, reader, rng, key):
    """One bad input for this reader."""
    code = msgspec.json if reader is decode_batch_json else msgspec.msgpack
    sealed = getattr(reader, "__name__", "") == "open_batch"
    if sealed and rng.random() < 0.7:  # by an enrolled node: the seal holds, what is in it does not
        return key.seal(mutated(message[77:], decode_batch, rng, key))
    if rng.random() < 0.5 and not sealed:
        return changed_inside(message, rng, code)
    if rng.random() < 0.05:
        return rng.randbytes(rng.randint(0, 400))
    return flipped(message, rng)


def back_again(taken):
    """What was taken, written and read once more."""
    return decode_batch(encode_batch(taken)) if isinstance(taken, Batch) else decode(encode(taken))


def attempt(reader, data, outcome):
    """Give it to the reader, and see that it answers as it must."""
    begun_s = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        taken = reader(data)
        outcome["taken"] += 1
        assert decode_ack(encode_ack(taken)) == taken if isinstance(taken, Ack) else back_again(taken) == taken
    except (WireError, IdentityError) as error:
        outcome["refused"] += 1
        outcome["badly told"] += "\n" in str(error) or len(str(error)) > 1_000
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
    return time.process_time() - begun_s


def main(count, seed):
    """Throw ``count`` inputs, shared among the readers."""
    rng, key = random.Random(seed), NodeKey.create()  # noqa: S311
    readers = samples(key)
    for reader, genuine in readers.items():
        for message in genuine:
            reader(message)
    baseline = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (baseline + MEMORY_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, too_long)
    outcome, longest_s = Counter(), 0.0
    for reader in readers:
        for bomb in bombs(LARGEST_ACK_BYTES if reader is decode_ack else LARGEST_BATCH_BYTES - 1_000):
            sealed = getattr(reader, "__name__", "") == "open_batch"
            longest_s = max(longest_s, attempt(reader, key.seal(bomb) if sealed else bomb, outcome))
    turns = list(readers.items())
    for k in range(count):
        reader, genuine = turns[k % len(turns)]
        data = mutated(rng.choice(genuine), reader, rng, key)
        longest_s = max(longest_s, attempt(reader, data, outcome))
    print(json.dumps({**outcome, "longest_s": longest_s}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
