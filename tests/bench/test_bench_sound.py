"""The command `vqcodec benchmark` on recordings: Opus as it is, and vqcodec's place taken by a stub."""

import csv
import json
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

for package in ("av", "soxr", "pystoi", "scipy"):
    pytest.importorskip(package, reason="needs the extra 'benchmark-sound'")
import soundfile
from PIL import Image
from sound_samples import voice

from vqcodec.zoo import registry
from vqcodec.bench import report, sweep
from vqcodec.sound import peers as sound_codecs
from vqcodec.bench.codecs import CodecSpec
from vqcodec.bench.metrics import Unmeasurable
from vqcodec.bench.points import Curve, Point, bd_rates, means, same_sources
from vqcodec.sound.scores import LogMel, SiSdr, Stoi
from vqcodec.sound.bench import Sounds, SoundSource
from vqcodec.cli import main
from vqcodec.sound.file import Sound


def save(folder, name, sound, **options):
    soundfile.write(folder / name, sound.samples, sound.rate, **options)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two recordings, one too short for some metrics, one silent, and some that are no use."""
    folder = tmp_path_factory.mktemp("recordings")
    save(folder, "a.flac", voice(1.5))
    save(folder, "b.wav", voice(1.2, 44100, 2, seed=3))
    save(folder, "brief.wav", voice(0.3, 8000))
    save(folder, "none.wav", Sound(np.zeros((8000, 1), np.float32), 8000))
    save(folder, "short.wav", Sound(np.ones((100, 1), np.float32), 16000))
    save(folder, "nan.wav", Sound(np.full((8000, 1), np.nan, np.float32), 8000), subtype="FLOAT")
    save(folder, "many.wav", voice(0.5, channels=3))
    (folder / "broken.flac").write_bytes(b"fLaC no")
    (folder / "notes.txt").write_text("no sound")
    return folder


def arguments(folder, out, *more):
    return ["benchmark", str(folder), "--out", str(out), "--codecs", "opus,opus-packets", "--metrics",
            "stoi,log-mel,si-sdr", "--timing-files", "1", "--compare", "12", *more]


@pytest.fixture(scope="module")
def bench(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "out"
    code = main.main(arguments(recordings, out), standalone_mode=False)
    return out, json.loads((out / "results.json").read_text()), code


def test_bad_recordings_are_listed_and_the_rest_reported(bench):
    _, results, code = bench
    assert code == 1 and results["medium"] == "sound"
    bad = {b["name"]: b["reason"] for b in results["bad"]}
    assert set(bad) == {"broken.flac", "many.wav", "nan.wav", "short.wav"}
    assert "not numbers" in bad["nan.wav"] and "0.00625 s long" in bad["short.wav"]
    assert bad["many.wav"].startswith("opus") and "one or two channels" in bad["many.wav"]
    assert [r["name"] for r in results["recordings"]] == ["a.flac", "b.wav", "brief.wav", "none.wav"]
    assert results["recordings"][1] == {"name": "b.wav", "rate_hz": 44100, "channels": 2, "length": 52920}
    absent = [(a["name"], a["reason"]) for a in results["absent"]]
    assert ("brief.wav", "STOI needs at least 0.5 s") in absent
    assert ("none.wav", "SI-SDR needs sound that is not silence") in absent


def test_points_are_of_real_files(bench, recordings):
    out, results, _ = bench
    sound = Sounds().read(recordings / "b.wav")
    codec = CodecSpec("opus", medium="sound").open()
    data = codec.encode(sound, 16)
    point = next(p for p in results["points"] if p["recording"] == "b.wav" and p["codec"] == "Opus"
                 and p["setting"] == 16)
    assert point["bytes"] == len(data) and point["kbps"] == pytest.approx(8 * len(data) / 1200)
    decoded = sound_codecs.conformed(codec.decode(data), sound)
    assert point["values"]["log-mel"] == pytest.approx(LogMel().measure(sound, decoded))
    packets = next(p for p in results["points"] if p["recording"] == "b.wav" and p["codec"] == "Opus packets"
                   and p["setting"] == 16)
    assert packets["bytes"] < point["bytes"] and packets["values"] == pytest.approx(point["values"])
    with open(out / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results["points"]) == 4 * 2 * len(codec.settings)
    assert rows[0]["recording"] == "a.flac" and float(rows[0]["kbps"]) > 5


def test_tables_and_timing(bench):
    out, results, _ = bench
    means = results["curves"][0]["means"]
    assert means[0]["recordings"] == 4 and means[0]["kbps"] < means[-1]["kbps"]
    assert means[0]["rates"]["stoi"] != means[0]["kbps"]  # of the two that have a value
    rates = {rate["metric"]: rate for rate in results["bd_rates"]}
    assert -30 < rates["log-mel"]["percent"] < 0 and rates["log-mel"]["low"] < rates["log-mel"]["high"]
    assert [t["codec"] for t in results["timings"]] == ["Opus", "Opus packets"]
    assert all(t["encode"] > t["decode"] > 0 and t["recordings"] == 1 for t in results["timings"])
    text = (out / "results.md").read_text()
    assert "| setting | kbps | STOI | Log-mel distance, dB | SI-SDR, dB |" in text and "4 recordings" in text


def test_report_is_one_file_that_asks_for_nothing(bench):
    out, _, _ = bench
    page = (out / "index.html").read_text()
    assert len(page) < report.LARGEST and "<!--" not in page
    rest = page.replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in rest and "https:" not in rest and "default-src 'none'" in page and "bpp" not in page
    assert "less is better" in page and "kbit/s" in (out / "log-mel.svg").read_text()
    assert page.count('<article class="listen"') == 2 and page.count("data:audio/flac;base64,") == 6


def test_a_second_run_reads_the_cache(bench, recordings, capsys):
    out, results, _ = bench
    before = {path: path.stat().st_mtime_ns for path in (out / "cache").iterdir()}
    main.main(arguments(recordings, out, "--json", "-f", "--timing-files", "0"), standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["points"] == results["points"]
    assert {path: path.stat().st_mtime_ns for path in (out / "cache").iterdir()} == before


@pytest.mark.parametrize(("options", "code", "message"), [
    (["--codecs", "jpeg"], 2, "unknown codec 'jpeg' (for sounds there are vqcodec, opus"),
    (["--metrics", "psnr"], 2, "unknown metric 'psnr' (for sounds"), (["--effort", "1"], 2, "for pictures, clips and pages only"),
    (["--compare-files", "x"], 1, "no recording 'x'")])
def test_bad_options_are_one_line(tmp_path, recordings, capsys, options, code, message):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.flac").write_bytes((recordings / "a.flac").read_bytes())
    assert main.main(arguments(tmp_path / "one", tmp_path / "out", *options), standalone_mode=False) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_pictures_and_recordings_in_one_folder_need_a_choice(tmp_path, capsys):
    save(tmp_path, "a.wav", voice(0.3))
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")
    assert main.main(arguments(tmp_path, tmp_path / "out"), standalone_mode=False) == 2
    assert "--medium sound" in capsys.readouterr().err
    more = ["--medium", "sound", "--metrics", "log-mel", "--codecs", "opus", "--timing-files", "0"]
    assert main.main(arguments(tmp_path, tmp_path / "out", *more), standalone_mode=False) == 0


@pytest.mark.parametrize(("package", "names", "extra"), [
    ("av", ["opus"], "benchmark-sound"), ("visqol", "visqol-speech", "benchmark-perceptual"),
    ("pesq", "pesq", "benchmark-perceptual"), ("pystoi", "stoi", "benchmark-sound")])
def test_a_missing_package_names_its_extra_and_is_left_out_of_defaults(monkeypatch, package, names, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Exception, match=rf"pip install '\.\[{extra}\]'"):
        if isinstance(names, list):
            CodecSpec("opus", medium="sound").open()
        else:
            Sounds().ready([names])
    assert names not in Sounds().metric_names(None, [source("a")], [])


def source(name, rate=16000):
    return SoundSource(name, name, name, rate, 1, 2 * rate, False)


def test_the_mode_of_visqol_follows_the_models_or_the_recordings():
    def codec(name, rate):
        return SimpleNamespace(spec=CodecSpec(name, medium="sound"), rate=rate)

    def mode(rates, *codecs):
        return Sounds().metric_names(("log-mel", "visqol"), [source("a", rate) for rate in rates], list(codecs))[1]

    assert mode([16000, 8000]) == "visqol-speech" and mode([16000, 44100]) == "visqol-audio"
    assert mode([48000], codec("vqcodec", 16000)) == "visqol-speech"
    assert mode([16000], codec("vqcodec", 48000)) == "visqol-audio"
    assert "stoi" in Sounds().metric_names(None, [source("a")], [])
    assert "stoi" not in Sounds().metric_names(None, [source("a", 48000)], [])


def test_a_source_without_a_value_for_one_codec_counts_for_none():
    points = [Point(source(name), codec, 1, "q", 100, {"stoi": value})
              for name, codec, value in (("a", "x", 0.5), ("b", "x", 0.7), ("a", "y", 0.9), ("b", "y", None))]
    kept, absent = same_sources(points, [Stoi()])
    assert [p.values["stoi"] for p in kept] == [0.5, None, 0.9, None]
    assert absent == [("b", "STOI has no value for y at q")]
    mean, = means([p for p in kept if p.codec == "x"], [Stoi()])
    assert mean.values["stoi"] == 0.5 and mean.sources == 2 and mean.rate == pytest.approx(0.4)


def test_less_is_better_in_bd_rates():
    def curve(name, factor):
        points = [Point(source("a"), name, i, f"{i}", round(factor * 1000 * 2**i), {"log-mel": 8.0 - i})
                  for i in range(6)]
        return Curve(name, name, "", "", means(points, [LogMel()]))

    (_, _, _, rate), = bd_rates([curve("x", 1), curve("y", 0.5)], [LogMel()])
    assert rate.percent == pytest.approx(-50) and (rate.low, rate.high) == (3, 8)


def test_unmeasurable_is_no_value():
    class Never(SiSdr):
        def measure(self, reference, decoded):
            raise Unmeasurable("no")

    assert sweep.measured(Never(), source("a"), voice(0.2), voice(0.2)) is None


class StubCodec:
    """In place of `vqcodec.sound.codec.AudioCodec`: samples of a few bits as its stream."""

    rate, qualities = 16000, 4
    entry = SimpleNamespace(name="stub", hash=b"\1\2\3\4", sha256={"model": "00"})

    @classmethod
    def open(cls, entry, encoder=True):
        assert entry == ("stub", "models", "audio")
        return cls()

    def encode(self, sound, quality):
        step = 2.0 ** (-1 - quality)
        coarse = np.round(sound.samples / step).astype(np.int8)[:: 2 if quality < 2 else 1]
        head = np.array([len(sound.samples), sound.samples.shape[1], sound.rate, quality * 16], np.int32)
        return SimpleNamespace(data=head.tobytes() + coarse.tobytes(), quality=quality)

    def decode(self, data):
        length, channels, rate, sixteenths = np.frombuffer(data[:16], np.int32)
        coarse = np.frombuffer(data[16:], np.int8).reshape(-1, channels)
        coarse = coarse.repeat(2, 0)[:length] if len(coarse) < length else coarse
        return Sound((coarse * 2.0 ** (-1 - sixteenths / 16)).astype(np.float32), int(rate))


@pytest.fixture
def stub(monkeypatch):
    module = types.ModuleType("vqcodec.sound.codec")
    module.AudioCodec = StubCodec
    monkeypatch.setitem(sys.modules, "vqcodec.sound.codec", module)
    monkeypatch.setattr(registry, "find_by_name", lambda name, folder=None, modality="image":
                        (name, folder and folder.rsplit("/", 1)[-1], modality))
    monkeypatch.setattr(sweep, "ProcessPoolExecutor", lambda workers, context: ThreadPoolExecutor(1))
    monkeypatch.setattr(sweep, "opened", lambda spec: spec.open())
    monkeypatch.setattr("vqcodec.bench.matched.opened", lambda spec: spec.open())


def test_vqcodec_is_compared_with_opus(stub, recordings, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.flac").write_bytes((recordings / "a.flac").read_bytes())
    code = main.main(["benchmark", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--models", "stub", "--models-dir",
                      "models", "--metrics", "log-mel,stoi", "--timing-files", "0", "--compare", "100,2"],
                     standalone_mode=False)
    assert code == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [c["label"] for c in results["curves"]] == ["vqcodec stub", "Opus", "Opus packets"]
    ours = [p for p in results["points"] if p["codec"] == "vqcodec stub"]
    assert [p["bytes"] for p in ours] == [12016, 24016, 24016, 24016]
    assert {(r["anchor"], r["test"]) for r in results["bd_rates"]} == {("Opus", "vqcodec stub"),
                                                                      ("Opus packets", "vqcodec stub")}
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count('<article class="listen"') == 2 and page.count("data:audio/flac") == 8
    assert all(f">{label}</button>" in page for label in ("1 original", "2 vqcodec stub", "3 Opus packets", "4 Opus"))


def test_a_recording_decoded_to_another_length_is_refused(stub, monkeypatch, recordings, tmp_path):
    monkeypatch.setattr(StubCodec, "decode", lambda self, data: voice(0.5))
    codec = CodecSpec("vqcodec", "stub", "models", medium="sound").open()
    with pytest.raises(ValueError, match="vqcodec stub: .* is decoded as"):
        sweep.round_trip(Sounds(), codec, voice(1.0), 2)
