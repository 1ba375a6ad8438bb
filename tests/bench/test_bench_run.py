"""The command `vqcodec benchmark` on small pictures with a tiny model."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scipy", reason="needs the extra 'benchmark'")
pytest.importorskip("pytorch_msssim", reason="needs the extra 'benchmark'")
pytest.importorskip("ssimulacra2", reason="needs the extra 'benchmark'")

from conftest import synthetic_picture

from vqcodec.picture import peers as codecs
from vqcodec.picture import scores as metrics
from vqcodec.bench import plots, report
from vqcodec.bench.cache import Cache
from vqcodec.bench.codecs import CodecSpec
from vqcodec.bench.matched import largest_within
from vqcodec.picture.bench import Pictures, PictureSource
from vqcodec.bench.points import Point, bd_rates, means
from vqcodec.bench.progress import Progress
from vqcodec.bench.result import Result
from vqcodec.bench.sweep import round_trip
from vqcodec.cli import main
from vqcodec.errors import InputError, UsageError

CLASSICAL = ["jpeg", "webp", "avif", "avif-ssimulacra2", "jpeg2000", "jxl"]


def opened(name):
    if name == "jxl":
        pytest.importorskip("pillow_jxl", reason="needs the extra 'jxl'")
    if name == "avif-ssimulacra2" and not codecs._avif_takes("ssimulacra2"):
        pytest.skip("this libaom has no tune=ssimulacra2")
    return CodecSpec(name).open()


@pytest.fixture(scope="module")
def bench(tmp_path_factory, tiny_model_dir):
    """(folder of the report, its results, exit code): three pictures, one of them tiny, and two that are no use."""
    folder = tmp_path_factory.mktemp("bench")
    pictures = folder / "pictures"
    pictures.mkdir()
    Image.fromarray(synthetic_picture(176, 208, 1)).save(pictures / "a.png")
    rgba = np.dstack([synthetic_picture(176, 176, 2), np.full((176, 176), 255, np.uint8)])
    rgba[:40, :40, 3] = 0
    Image.fromarray(rgba).save(pictures / "b.png")
    Image.fromarray(synthetic_picture(24, 30, 3)[:, :, 0]).save(pictures / "tiny.png")
    Image.fromarray(np.zeros((8, 16400, 3), np.uint8)).save(pictures / "wide.png")  # WebP ends at 16383
    (pictures / "broken.png").write_bytes(b"\x89PNG no")
    (pictures / "notes.txt").write_text("no picture")
    code = main.main(arguments(folder, tiny_model_dir), standalone_mode=False)
    return folder, json.loads((folder / "out" / "results.json").read_text()), code


def arguments(folder, models, *more):
    return ["benchmark", str(folder / "pictures"), "--out", str(folder / "out"), "--models-dir", str(models),
            "--codecs", "vqcodec,jpeg,webp", "--effort", "0", "--compare", "0.5", "--timing-pictures", "1", *more]


def test_bad_pictures_are_listed_and_the_rest_reported(bench):
    _, results, code = bench
    assert code == 1
    assert [bad["name"] for bad in results["bad"]] == ["broken.png", "wide.png"]
    assert results["bad"][1]["reason"].startswith("webp: ")
    assert [p["name"] for p in results["pictures"]] == ["a.png", "b.png", "tiny.png"]
    assert {"name": "tiny.png", "reason": "MS-SSIM needs more than 160 pixels on each side"} in results["absent"]


def test_points_are_of_real_files(bench, tiny_model_dir):
    folder, results, _ = bench
    codec = CodecSpec("vqcodec", None, str(tiny_model_dir), 0).open()
    rgb = Pictures().read(folder / "pictures" / "b.png")
    data = codec.encode(rgb, 2.0)
    point = next(p for p in results["points"] if p["picture"] == "b.png" and p["codec"] == "vqcodec tiny"
                 and p["setting"] == 2)
    assert point["bytes"] == len(data)
    assert point["bpp"] == 8 * len(data) / (176 * 176)
    assert point["values"]["psnr"] == pytest.approx(metrics.PsnrRgb().measure(rgb, codec.decode(data)))
    tiny = [p["values"] for p in results["points"] if p["picture"] == "tiny.png"]
    assert all(v["ms-ssim"] is None and v["psnr"] > 0 for v in tiny)
    with open(folder / "out" / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results["points"]) == 3 * (3 + len(codecs.Jpeg.settings) + len(codecs.WebP.settings))


def test_timing_has_every_codec(bench):
    _, results, _ = bench
    assert [t["codec"] for t in results["timings"]] == ["vqcodec tiny", "JPEG", "WebP"]
    for timing in results["timings"]:
        assert timing["encode"] > 0 and timing["decode"] > 0 and timing["threads"] == 1
        assert timing["peak"] is None or timing["peak"] > timing["base"] - 1 > 0


def test_report_is_one_file_that_asks_for_nothing(bench):
    folder, _, _ = bench
    page = (folder / "out" / "index.html").read_text()
    assert len(page) < report.LARGEST and "<!--" not in page
    rest = page.replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in rest and "https:" not in rest and "default-src 'none'" in page
    assert page.count('class="match"') == 2
    assert (folder / "out" / "psnr.svg").read_text().startswith("<svg")
    assert "BD-rate, SSIMULACRA2" in (folder / "out" / "results.md").read_text()


def test_a_second_run_reads_the_cache_and_repairs_it(bench, tiny_model_dir, capsys, monkeypatch):
    folder, results, _ = bench
    entries = sorted((folder / "out" / "cache").iterdir())
    before = {path: path.stat().st_mtime_ns for path in entries}
    damaged = entries[0].read_text()
    entries[0].write_text(damaged.replace('"bytes": ', '"bytes": 1'))
    code = main.main(arguments(folder, tiny_model_dir, "--json", "-f", "--timing-pictures", "0"), standalone_mode=False)
    again = json.loads(capsys.readouterr().out)
    assert code == 1 and again["points"] == results["points"]
    assert [p for p in entries if p.stat().st_mtime_ns != before[p]] == [entries[0]]
    assert entries[0].read_text() == damaged


def test_an_existing_report_is_kept(bench, tiny_model_dir, capsys):
    folder, _, _ = bench
    assert main.main(arguments(folder, tiny_model_dir), standalone_mode=False) == 1
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "code", "message"), [
    (["--codecs", "gif"], 2, "unknown codec 'gif'"), (["--metrics", "vmaf"], 2, "unknown metric 'vmaf'"),
    (["--models", "nobody"], 4, "model 'nobody' is not installed"), (["--qualities", "a"], 2, "not a list of numbers"),
    (["--codecs", ","], 2, "the list is empty"), (["--compare-pictures", "x"], 1, "no picture 'x'")])
def test_bad_options_are_one_line(tmp_path, tiny_model_dir, capsys, options, code, message):
    (tmp_path / "pictures").mkdir()
    Image.fromarray(synthetic_picture(16, 16)).save(tmp_path / "pictures" / "a.png")
    assert main.main(arguments(tmp_path, tiny_model_dir, *options), standalone_mode=False) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(("package", "names", "extra"), [
    ("pillow_jxl", {"codecs": ["jxl"]}, "jxl"), ("ssimulacra2", {"metrics": ["ssimulacra2"]}, "benchmark")])
def test_a_missing_package_names_its_extra(monkeypatch, package, names, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Exception, match=rf"pip install '\.\[{extra}\]'"):
        if "codecs" in names:
            CodecSpec("jxl").open()
        else:
            Pictures().ready(names["metrics"])


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_codecs_cover_a_range_that_rises(name):
    codec, rgb = opened(name), synthetic_picture(96, 128)
    found = [round_trip(Pictures(), codec, rgb, setting) for setting in codec.settings[::3]]
    sizes = [len(data) for data, _ in found]
    quality = [metrics.PsnrLuma().measure(rgb, decoded) for _, decoded in found]
    assert sizes == sorted(sizes) and quality == sorted(quality) and sizes[-1] > 2 * sizes[0]
    assert codec.settings == tuple(sorted(codec.settings)) and codec.fine == tuple(sorted(codec.fine))


@pytest.mark.parametrize("name", CLASSICAL)
def test_matched_file_is_the_largest_within(name):
    codec, rgb = opened(name), synthetic_picture(64, 96)
    limit = (len(codec.encode(rgb, codec.settings[3])) + len(codec.encode(rgb, codec.settings[4]))) // 2
    _, data = largest_within(codec, rgb, limit)
    assert len(codec.encode(rgb, codec.settings[3])) <= len(data) <= limit
    assert largest_within(codec, rgb, 1)[0] == codec.fine[0]


def test_mean_ms_ssim_is_taken_before_decibels():
    points = [Point(PictureSource(name, name, name, 8, 8), "c", 1, "q", size, {"ms-ssim": value})
              for name, size, value in (("a", 8, 0.9), ("b", 16, 0.99), ("t", 24, None))]
    mean, = means(points, [metrics.MsSsim()])
    assert mean.rate == 2 and mean.sources == 3
    assert mean.rates["ms-ssim"] == 1.5  # of the two that have a value
    assert mean.values["ms-ssim"] == pytest.approx(12.596, abs=1e-3)  # -10 log10(1 - 0.945)


def test_metrics_of_equal_and_known_pictures():
    rgb = synthetic_picture(176, 176)
    worse = rgb.copy()
    worse[:, :, 2] ^= 1  # blue is off by one everywhere
    assert metrics.PsnrRgb().measure(rgb, worse) == pytest.approx(48.1308 + 4.7712, abs=1e-3)
    assert metrics.PsnrLuma().measure(rgb, worse) == pytest.approx(48.1308 + 18.8619, abs=1e-3)
    assert metrics.PsnrRgb().measure(rgb, rgb) == float("inf")
    assert metrics.MsSsim().measure(rgb, rgb) == pytest.approx(1)
    assert metrics.Ssimulacra2().measure(rgb, rgb) == pytest.approx(100)


def test_avif_is_named_with_its_tune(monkeypatch):
    default = opened("avif")
    named = codecs._avif_tune()
    assert f"{named}, libavif's default" in default.note and named in ("tune=iq", "tune=ssim", "tune=psnr")
    rgb = synthetic_picture(96, 128)
    monkeypatch.setattr(codecs.Avif, "tune", named.removeprefix("tune="))
    explicit = CodecSpec("avif").open()
    assert explicit.note == default.note.replace(", libavif's default", "")
    with monkeypatch.context() as patch:
        patch.setattr(codecs.Avif, "tune", None)
        data = default.encode(rgb, 40)
    assert explicit.encode(rgb, 40) == data
    better = opened("avif-ssimulacra2")
    assert "tune=ssimulacra2" in better.note and better.encode(rgb, 40) != data


def test_an_old_libaom_is_told(monkeypatch):
    monkeypatch.setattr(codecs, "_avif_sample", lambda tune: b"same" if tune in (None, "ssim") else _no_option())
    assert codecs._avif_tune() == "tune=ssim"
    with pytest.raises(Exception, match="codec 'avif-ssimulacra2': this Pillow's libaom has no tune=ssimulacra2"):
        CodecSpec("avif-ssimulacra2").open()


def _no_option():
    raise ValueError("Failed to encode image: Invalid codec-specific option")


def test_cvvdp_of_equal_and_worse_pictures():
    metric = metrics.Cvvdp()
    try:
        metric.load()
    except InputError:
        pytest.skip("needs the extra 'benchmark-cvvdp'")
    rgb = synthetic_picture(176, 208)
    noise = np.random.default_rng(0).normal(0, 1, rgb.shape)
    worse = [metric.measure(rgb, np.clip(rgb + level * noise, 0, 255).astype(np.uint8)) for level in (4, 16)]
    assert metric.measure(rgb, rgb) == 10 and 10 > worse[0] > worse[1] > 3
    assert metrics._cvvdp().pix_per_deg == pytest.approx(75.4, abs=0.05)  # as the label says


def test_published_curves_are_drawn_and_compared():
    """BD-rates among them as known: of the hyperprior +31 % against VTM (published), of AV1 +16 %."""
    sources = [PictureSource(str(i), str(i), str(i), *((768, 512) if i % 2 else (512, 768))) for i in range(24)]
    shown = [metrics.PsnrRgb(), metrics.MsSsim(), metrics.Ssimulacra2()]
    curves = [found.curve(shown) for found in Pictures().published(sources)]
    assert [c.label for c in curves] == [f"{name} (published)" for name in ("AV1", "VTM", "hyperprior", "cheng2020-anchor")]
    rates = {(a.split()[0], t.split()[0], m): r.percent for a, t, m, r in bd_rates([curves[1], *curves[:1], *curves[2:]], shown)}
    assert rates["VTM", "hyperprior", "psnr"] == pytest.approx(31, abs=3)
    assert rates["VTM", "AV1", "psnr"] == pytest.approx(16, abs=5)
    assert rates["VTM", "AV1", "ssimulacra2"] is None
    assert curves[1].means[1].values["ms-ssim"] == pytest.approx(10.85, abs=0.01)  # -10 log10(1 - 0.91769)
    with pytest.raises(UsageError, match="are of Kodak's 24 pictures, and these are others"):
        Pictures().published(sources[:2])
    result = Result(Pictures(), {}, sources, [], [], shown, [], curves, [], 1, 1)
    drawing = plots.rate_distortion(result, shown[0])
    assert drawing.count("stroke-dasharray") == 4 and drawing.count("<circle") == 12 + 8 + 8 + 6
    assert plots.rate_distortion(result, shown[2]) == ""


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0, 3], rgba[0, 1, 3] = 255, 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert Pictures().find(tmp_path)[0][0].width == 2
    assert Pictures().read(tmp_path / "a.png")[:, :, 0].tolist() == [[0, 127], [255, 255]]


def test_cache_forgets_what_is_damaged(tmp_path):
    cache = Cache(tmp_path / "c")
    key = cache.key(picture="p", codec="c")
    assert cache.get(key) is None and key != cache.key(picture="p", codec="d")
    cache.put(key, {"bytes": 5})
    assert cache.get(key) == {"bytes": 5}
    path, = (tmp_path / "c").iterdir()
    for text in ("", "[]", "{", path.read_text().replace("5", "6", 1), "\xff"):
        path.write_text(text, "latin-1")
        assert cache.get(key) is None


def test_progress_tells_the_time_left():
    clock = iter([0.0, 30.0])
    with Progress("sweep", lambda: next(clock)) as progress:
        assert progress.text(3, 12) == "sweep: 3 of 12, 1:30 left"


def test_help_loads_nothing_heavy():
    code = ("import sys; from vqcodec.cli import main; main.main(['benchmark', '--help'], standalone_mode=False);"
            "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'PIL', 'scipy')))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_names_of_all_kinds_are_reported(tmp_path, tiny_model_dir, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    names = ["=1+1.png", os.fsdecode(b"\xff\n\x1b[31m.png"), "<b>é.png"]
    for i, name in enumerate(names):
        Image.fromarray(synthetic_picture(24, 30, i)).save(pictures / name)
    (pictures / "bad\n\x1b[31m.png").write_bytes(b"no")
    code = main.main(["benchmark", str(pictures), "--out", str(tmp_path / "out"), "--codecs", "jpeg,webp", "--metrics", "psnr",
                      "--timing-pictures", "0"], standalone_mode=False)
    assert code == 1 and "\x1b" not in "".join(capsys.readouterr())
    with open(tmp_path / "out" / "points.csv", newline="", encoding="utf-8") as file:
        shown = {row["picture"] for row in csv.DictReader(file)}
    assert shown == {"'=1+1.png", r"\xff\n\x1b[31m.png", "<b>é.png"}
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["name"] for row in results["pictures"]} == set(names)  # as they are, for programs
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "\x1b" not in page and r"bad\n\x1b[31m.png" in page and "<b>é" not in page
