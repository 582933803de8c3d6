"""A camera's audio over HTTP and RTSP: decoded exactly where it is lossless, and no password in any word."""

import base64
import collections
import contextlib
import http.server
import io
import itertools
import logging
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from sensors.source import SourceError
from sensors.stream import Stream, without_secrets

RATE_HZ = 16_000
PATIENCE_S = 60.0
SECRET = "hunter2%40"  # noqa: S105 - of nobody


@pytest.fixture(scope="module")
def av():
    return pytest.importorskip("av", reason="no streams: install shotfix[cameras]")


def words(seconds, channels=1):
    return np.random.default_rng(6).integers(-(2**15), 2**15, (int(seconds * RATE_HZ), channels)).astype(np.int16)


def encoded(samples, format_, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format=format_, subtype=subtype)
    return file.getvalue()


@contextlib.contextmanager
def camera(body, *, kind="audio/wav", password=None, stall=None, answer=200):
    """A web server with one sound, which may want a password, stop half way, or refuse."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if password and self.headers.get("Authorization") != f"Basic {password}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(answer)
            self.send_header("Content-Type", kind)
            if answer == 302:
                self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body[: len(body) // 2])
                if stall is not None:
                    stall.wait(PATIENCE_S)
                self.wfile.write(body[len(body) // 2 :])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield server.server_address[1]
    finally:
        if stall is not None:
            stall.set()
        server.shutdown()
        serving.join()
        server.server_close()


def heard(source):
    """All pieces until the stream ends, which is a loss."""
    pieces = []
    with pytest.raises(SourceError, match=r"127\.0\.0\.1.*opening it again"):
        collections.deque(map(pieces.append, source.open()), maxlen=0)
    return pieces


@pytest.mark.parametrize(
    ("format_", "subtype", "channels"),
    [("WAV", "PCM_16", 1), ("WAV", "PCM_24", 2), ("WAV", "FLOAT", 1), ("WAV", "PCM_U8", 1), ("FLAC", "PCM_16", 2)],
)
def test_lossless_streams_are_heard_sample_by_sample(av, format_, subtype, channels):
    body = encoded(words(1.0, channels), format_, subtype)
    expected, _ = soundfile.read(io.BytesIO(body), dtype="float32")
    with camera(body) as port:
        source = Stream(f"http://127.0.0.1:{port}/live")
        pieces = heard(source)
    assert (source.rate_hz, source.channels) == (RATE_HZ, channels)
    np.testing.assert_array_equal(np.concatenate([raw.samples for raw in pieces]), expected)
    assert [raw.count for raw in pieces[1:]] == [raw.end_count for raw in pieces[:-1]]
    assert not any(raw.lost for raw in pieces)
    assert all(raw.wall_ns < time.time_ns() for raw in pieces)


def test_a_cameras_bare_l24_is_heard_exactly(av):
    values = words(0.5)[:, 0].astype(np.int64) * 256 + 17
    body = b"".join(int(value).to_bytes(3, "big", signed=True) for value in values)
    with camera(body, kind="audio/L24") as port:
        options = {"sample_rate": str(RATE_HZ), "ch_layout": "mono"}
        source = Stream(f"http://127.0.0.1:{port}/", container_format="s24be", options=options)
        samples = np.concatenate([raw.samples for raw in heard(source)])
    np.testing.assert_array_equal(samples.astype(np.float64) * 2**23, values)


def test_a_lossy_codec_keeps_the_sound(av):
    t_s = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * 440.0 * t_s)
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as out:
        sound = out.add_stream("aac", rate=RATE_HZ, layout="mono")
        for at in range(0, len(tone), 1_024):
            frame = av.AudioFrame.from_ndarray(tone[None, at : at + 1_024].astype(np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = RATE_HZ, at
            for one in sound.encode(frame):
                out.mux(one)
        for one in sound.encode(None):
            out.mux(one)
    with camera(file.getvalue(), kind="audio/aac") as port:
        samples = np.concatenate([raw.samples for raw in heard(Stream(f"http://127.0.0.1:{port}/"))])
    spectrum = np.abs(np.fft.rfft(samples[RATE_HZ // 2 :][:RATE_HZ]))
    assert np.argmax(spectrum) == 440
    assert np.sqrt(2.0) * np.std(samples[RATE_HZ // 2 :][:RATE_HZ]) == pytest.approx(0.3, rel=0.1)


def test_passwords_open_the_camera_and_are_never_said(av, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    token = base64.b64encode(b"viewer:hunter2@").decode()
    said = []
    with camera(encoded(words(0.2), "WAV"), password=token) as port:
        url = f"http://viewer:{SECRET}@127.0.0.1:{port}/live?token=opensesame"
        source = Stream(url)
        assert source.name == f"http://127.0.0.1:{port}/live"
        assert heard(source)
        for wrong in (
            url.replace(SECRET, SECRET + "x"),
            url.replace(f":{port}", ":1"),
            url.replace("127.0.0.1", "no.invalid"),
        ):
            with pytest.raises(SourceError, match="cannot be opened") as caught:
                Stream(wrong, open_s=3.0).open()
            said += [str(caught.value), repr(caught.value.__cause__), repr(caught.value.__suppress_context__)]
    with camera(b"", answer=404) as port, pytest.raises(SourceError, match=r"404|Not Found") as caught:
        Stream(f"http://viewer:{SECRET}@127.0.0.1:{port}/gone?token=opensesame").open()
    said += [str(caught.value), caplog.text, *capfd.readouterr()]
    for text in said:
        assert "hunter2" not in text
        assert "opensesame" not in text
        assert "\n" not in text or text == caplog.text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rtsp://me:pw@[fe80::1]:554/a?b=c#d", "rtsp://[fe80::1]:554/a"),
        ("https://u@host/x", "https://host/x"),
        ("http://[broken/pw", "a URL that cannot be read"),
        ("http://host:99999/secret", "a URL that cannot be read"),
    ],
)
def test_names_are_without_secrets(url, said):
    assert without_secrets(url) == said


@pytest.mark.parametrize("url", ["file:///etc/passwd", "/dev/audio", "ftp://h/x", "http://", "concat:http://h/a", ""])
def test_only_streams_are_opened(url):
    with pytest.raises(ValueError, match="expected a URL of http, https, rtsp, rtsps"):
        Stream(url)


def test_a_redirection_never_leads_into_this_machine(av):
    with camera(b"", answer=302) as port, pytest.raises(SourceError, match="cannot be opened"):
        Stream(f"http://127.0.0.1:{port}/").open()


@pytest.mark.parametrize("body", [b"", b"hello, this is a login page" * 100, bytes(5_000)])
def test_what_is_no_audio_is_said(av, body):
    with camera(body, kind="text/html") as port, pytest.raises(SourceError, match=r"127\.0\.0\.1"):
        list(Stream(f"http://127.0.0.1:{port}/").open())


def test_a_stream_that_falls_silent_is_lost_and_closing_wakes(av):
    stall = threading.Event()
    with camera(encoded(words(20.0), "WAV"), stall=stall) as port:
        source = Stream(f"http://127.0.0.1:{port}/", read_s=0.5)
        with pytest.raises(SourceError, match="lost"):
            for _ in source.open():
                pass
        source = Stream(f"http://127.0.0.1:{port}/", read_s=0.5)
        samples = source.open()
        next(samples)
        source.close()
        assert len(list(itertools.islice(samples, 10_000))) < 10_000


def test_without_pyav_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SourceError, match=r"pip install 'shotfix\[cameras\]'"):
        Stream("rtsp://camera.invalid/").open()


PUSHER = """
import sys, time, av, numpy as np
address, path = sys.argv[1:]
sent = np.load(path)
while True:
    try:
        out = av.open(address, "w", format="rtsp", options={"rtsp_transport": "tcp"})
        sound = out.add_stream("pcm_s16be", rate=16_000, layout="mono")
        out.start_encoding()
        break
    except (OSError, av.FFmpegError):
        time.sleep(0.1)
for at in range(0, len(sent), 320):
    frame = av.AudioFrame.from_ndarray(sent[None, at : at + 320], "s16", "mono")
    frame.sample_rate, frame.pts = 16_000, at
    for one in sound.encode(frame):
        out.mux(one)
    time.sleep(0.005)
out.close()
"""


def test_an_encoder_that_announces_itself_over_rtsp_is_heard(av, tmp_path):
    """FFmpeg at both ends, as an encoder that pushes: RTSP, its session and RTP inside its TCP connection are real."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"rtsp://127.0.0.1:{port}/live"
    source = Stream(address, options={"rtsp_flags": "listen", "listen_timeout": "20"}, open_s=20.0)
    sent = words(3.0)[:, 0]
    np.save(tmp_path / "sent.npy", sent)
    # A process of its own: FFmpeg's two ends in one would wait for each other.
    pusher = subprocess.Popen([sys.executable, "-c", PUSHER, address, tmp_path / "sent.npy"])
    try:
        pieces = heard(source)
        assert pusher.wait(PATIENCE_S) == 0
    finally:
        pusher.kill()
        pusher.wait()
    assert (source.rate_hz, source.channels) == (RATE_HZ, 1)
    got = np.concatenate([raw.samples for raw in pieces]) * 2**15
    assert len(got) > len(sent) // 4
    # It may begin and end within the sound: what FFmpeg needs to recognise it, and what is under way at the end.
    first = next(k for k in range(len(sent)) if np.array_equal(sent[k : k + 50], got[:50]))
    np.testing.assert_array_equal(got, sent[first : first + len(got)])
