"""Finding the microphone that is meant, whatever numbers the day has given it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.microphones import Card, Microphone, check_keys, choose, microphone, read_cards
from sensors.source import SourceError

# Who is plugged in, in words that stay true: (card id without number, usb id, serial, port, product name, inputs).
ARRAY = ("ArrayUAC10", "2886:0018", "", "1-1.4", "ReSpeaker 4 Mic Array (UAC1.0)", 1)
SOLO = ("Device", "0d8c:0014", "", "1-1.1", "USB Audio Device", 1)
SOLO_TWIN = ("Device", "0d8c:0014", "", "1-1.2", "USB Audio Device", 1)
NUMBERED = ("U18dB", "1a2b:3c4d", "A7", "1-1.3", "Street Mic", 2)
NUMBERED_TWIN = ("U18dB", "1a2b:3c4d", "B9", "3-2", "Street Mic", 2)
BOARD = ("PCH", "", "", "0000:00:1f.3", "HDA Intel PCH", 3)
EVERYBODY = (ARRAY, SOLO, SOLO_TWIN, NUMBERED, NUMBERED_TWIN, BOARD)
VIRTUAL = ("default", "pulse", "sysdefault", "dmix")


def morning(order, virtual_first, dice):
    """PortAudio's list after one start: cards numbered in the order they were found, twins' ids as well."""
    said, ids = {}, {}
    for number, who in enumerate(order):
        card_id, usb, serial, port, _, _ = who
        ids[card_id] = ids.get(card_id, -1) + 1
        said[number] = Card(number, f"{card_id}_{ids[card_id]}" if ids[card_id] else card_id, usb, serial, port)
    names = [
        (f"{who[4]}: USB Audio{f' #{pcm}' if pcm else ''} (hw:{number},{pcm})", who)
        for number, who in enumerate(order)
        for pcm in range(who[5])
    ]
    names = [*((name, None) for name in VIRTUAL), *names] if virtual_first else [*names, *((v, None) for v in VIRTUAL)]
    dice.shuffle(names)
    return [microphone(index, name, 2, said) for index, (name, _) in enumerate(names)], names


SURE = {
    ARRAY: ["usb:2886:0018", "port:1-1.4", "card:ArrayUAC10", "respeaker", "4 Mic Array"],
    SOLO: ["port:1-1.1"],
    SOLO_TWIN: ["port:1-1.2"],
    NUMBERED: ["usb:1A2B:3C4D:A7", "port:1-1.3"],
    NUMBERED_TWIN: ["usb:1a2b:3c4d:B9", "port:3-2"],
    BOARD: ["card:PCH", "hda intel", "port:0000:00:1f.3"],
}


@given(
    order=st.permutations(EVERYBODY),
    present=st.sets(st.sampled_from(EVERYBODY)),
    virtual_first=st.booleans(),
    dice=st.randoms(),
)
def test_the_same_physical_microphone_is_chosen_whatever_the_list(order, present, virtual_first, dice):
    there, names = morning([who for who in order if who in present], virtual_first, dice)
    for who, keys in SURE.items():
        for key in keys:
            if who in present:
                found = choose(there, ["card:Absent", key])
                assert names[found.index][1] == who
                assert found.pcm == 0
            else:
                with pytest.raises(SourceError, match="present: "):
                    choose(there, [key])


@given(order=st.permutations(EVERYBODY), dice=st.randoms())
def test_what_fits_two_is_never_a_guess(order, dice):
    there, names = morning(order, True, dice)
    for key in ("usb:0d8c:0014", "usb:1a2b:3c4d", "Street Mic", "USB Audio Device", "card:Device", "card:U18dB_1"):
        with pytest.raises(SourceError, match=r"fits (2|two of a kind)"):
            choose(there, [key])
        assert names[choose(there, [key, "port:1-1.1"]).index][1] == SOLO


@given(order=st.permutations(EVERYBODY), dice=st.randoms())
def test_its_own_keys_find_it_or_nothing(order, dice):
    there, _ = morning(order, True, dice)
    for one in there:
        for key in one.keys:
            try:
                found = choose(there, [key])
            except SourceError:
                continue
            assert found.card == one.card
            assert found.card is not None or found.name == one.name


def test_a_whole_name_wins_over_a_part_of_another():
    there = [microphone(3, "pulse extra", 2, {}), microphone(7, "pulse", 2, {})]
    assert choose(there, ["pulse"]).index == 7
    assert choose(there, ["PULSE E"]).index == 3
    assert microphone(0, "Mic: USB Audio (hw:4,1)", 1, {}) == Microphone(0, "Mic: USB Audio", 1, pcm=1)


@pytest.mark.parametrize("key", ["3", "hw:1,0", "plughw:2,0", ":1,0", "1,0", "Mic: USB Audio (hw:4,1)"])
def test_numbers_are_no_names(key):
    with pytest.raises(ValueError, match="changes at the next start"):
        check_keys([key])


@pytest.mark.parametrize("keys", [[], [" "]])
def test_no_key_names_nothing(keys):
    with pytest.raises(ValueError, match="expected a part of its name"):
        check_keys(keys)


def linux(root, number, card_id, usb=None, interface=None):
    """What the kernel shows of one card (proc(5), Documentation/ABI/stable/sysfs-bus-usb)."""
    proc, device = root / "proc" / f"card{number}", root / "sys" / f"card{number}" / "device"
    proc.mkdir(parents=True)
    (proc / "id").write_text(card_id + "\n")
    device.parent.mkdir(parents=True)
    if usb is None:
        place = root / "devices" / "pci0000:00" / "0000:00:1f.3"
        place.mkdir(parents=True)
    else:
        (proc / "usbid").write_text(f"{usb['idVendor']}:{usb['idProduct']}\n")
        place = root / "devices" / "usb1" / interface.split(":")[0] / interface
        place.mkdir(parents=True)
        for name, value in usb.items():
            (place.parent / name).write_text(value + "\n")
    device.symlink_to(place)


def test_cards_are_read_from_the_kernels_files(tmp_path):
    linux(tmp_path, 0, "PCH")
    linux(tmp_path, 2, "ArrayUAC10", {"idVendor": "2886", "idProduct": "0018"}, "1-1.4:1.0")
    linux(tmp_path, 11, "U18dB", {"idVendor": "1a2b", "idProduct": "3c4d", "serial": "A7"}, "1-1.3:1.0")
    (tmp_path / "proc" / "cards").write_text("noise")
    (tmp_path / "proc" / "card7").mkdir()  # unplugged while we look
    assert read_cards(tmp_path / "proc", tmp_path / "sys") == {
        0: Card(0, "PCH", "", "", "0000:00:1f.3"),
        2: Card(2, "ArrayUAC10", "2886:0018", "", "1-1.4"),
        11: Card(11, "U18dB", "1a2b:3c4d", "A7", "1-1.3"),
        7: Card(7, ""),
    }
    assert read_cards(tmp_path / "absent", tmp_path) == {}
    assert microphone(5, "Mic (hw:11,0)", 1, read_cards(tmp_path / "proc", tmp_path / "sys")).keys == (
        "usb:1a2b:3c4d:A7",
        "port:1-1.3",
        "usb:1a2b:3c4d",
        "card:U18dB",
        "Mic",
    )
