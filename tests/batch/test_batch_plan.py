"""Planning of `batch`: patterns, names, kinds, scans, the manifest, memory. Needs no torch."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from vqcodec.sound.formats.writer import FORMATS
from vqcodec import medium
from vqcodec.batch import memory, names, plan
from vqcodec.batch import dispatch as dispatching
from vqcodec.batch.dispatch import Budget, dispatch
from vqcodec.batch.engine_local import Died
from vqcodec.batch.globs import Selection, compile_glob
from vqcodec.batch.jobs import Encoding, Failure, Job, Settings, Source, same_bytes
from vqcodec.medium import Format, Request
from vqcodec.picture import memory as picture_memory
from vqcodec.sound import memory as sound_memory
from vqcodec.batch.manifest import NAME, History, Manifest, read_history
from vqcodec.batch.plan import Rules, make_plan
from vqcodec.batch.progress import Totals, ratio
from vqcodec.batch.stores import TEMPORARY, LocalLog, LocalStore, open_store
from vqcodec.errors import InputError, UsageError


@pytest.mark.parametrize("pattern, yes, no", [
    ("*.png", ["a.png", "x/y/a.png"], ["a.pngx", "a.PNG"]),
    ("sub/*.png", ["sub/a.png"], ["a.png", "sub/x/a.png", "x/sub/a.png"]),
    ("**/b/*", ["b/a", "x/y/b/a"], ["b", "b/x/a"]),
    ("a/**", ["a/x", "a/x/y"], ["b/x", "ab"]),
    ("[!a-c]?.png", ["dx.png", "q/zz.png"], ["ax.png", "/x.png"]),
    ("a[.]b", ["a.b"], ["axb"]),
    ("a+(b)", ["a+(b)"], ["aab"]),
])
def test_globs(pattern, yes, no):
    compiled = compile_glob(pattern)
    assert all(compiled.match(path) for path in yes)
    assert not any(compiled.match(path) for path in no)


@pytest.mark.parametrize("pattern", ["", "/", "a[b"])
def test_bad_globs_are_usage_errors(pattern):
    with pytest.raises(UsageError):
        compile_glob(pattern)


def encoded(*sources, full=False):
    return names.resolve([(source, *names.encoded_names(source)) for source in sources], full)


def test_outputs_keep_short_names_where_nothing_collides():
    assert encoded("a.png", "s/a.png", "b.c.jpg") == ({"a.png": "a.vq", "s/a.png": "s/a.vq", "b.c.jpg": "b.c.vq"}, 0)
    assert encoded("a.png", full=True) == ({"a.png": "a.png.vq"}, 0)


def test_colliding_outputs_keep_the_extension():
    outputs, count = encoded("a.png", "a.jpg", "b.png")
    assert outputs == {"a.png": "a.png.vq", "a.jpg": "a.jpg.vq", "b.png": "b.vq"} and count == 2
    # the longer name may collide in its turn
    assert encoded("a.png", "a.jpg", "a.png.gif")[0] == {
        "a.png": "a.png.vq", "a.jpg": "a.jpg.vq", "a.png.gif": "a.png.gif.vq"}


def test_names_that_differ_in_case_or_normalisation_collide():
    assert encoded("a.png", "A.jpg")[0] == {"a.png": "a.png.vq", "A.jpg": "A.jpg.vq"}
    assert encoded("a.png", "A.png")[0] == {"A.png": "A.png.vq", "a.png": "a.png~2.vq"}
    assert len(set(map(names.key_of, encoded("D/x.png", "d/x.png", "d/X.png")[0].values()))) == 3
    assert names.key_of("\u00e9.vq") == names.key_of("E\u0301.vq")


def test_an_output_is_never_a_folder_of_another():
    outputs, count = encoded("a.png", "a.vq/b.png")
    assert outputs == {"a.png": "a.png.vq", "a.vq/b.png": "a.vq/b.vq"} and count == 1


def test_names_depend_on_the_set_of_sources_alone():
    rng = random.Random(0)
    for _ in range(200):
        stems = ["a", "A", "b", "a.png", "a.png~2", "d/a", "a.vq/a"]
        sources = list({rng.choice(stems) + rng.choice([".png", ".PNG", ".jpg"]) for _ in range(8)})
        outputs, _ = encoded(*sources)
        rng.shuffle(sources)
        assert encoded(*sources)[0] == outputs
        keys = [names.key_of(output) for output in outputs.values()]
        assert len(set(keys)) == len(sources)
        assert not any(one.startswith(other + "/") for one in keys for other in keys)


def test_decoding_undoes_longer_names():
    assert names.decoded_names("s/a.vq", "png")[0] == "s/a.png"
    assert names.decoded_names("a.png.vq", "png")[0] == "a.png"
    assert names.decoded_names("a.PNG.vq", "png")[0] == "a.PNG"
    assert names.decoded_names("a.jpg.vq", "png")[0] == "a.jpg.png"
    rows = [(source, *names.decoded_names(source, "png")) for source in ("a.vq", "a.png.vq")]
    assert names.resolve(rows)[0] == {"a.vq": "a.vq.png", "a.png.vq": "a.png.vq.png"}


def test_kinds():
    pictures, sounds = medium.of_modality("image").extensions(), medium.of_modality("audio").extensions()
    assert {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".ppm"} <= pictures
    assert not {".pdf", ".eps", ".h5", ".vq", ".txt"} & pictures
    assert medium.of_extension("d.png/A.PNG").modality == "image"
    assert medium.of_extension("d.png/A") is None and medium.of_extension(".png") is None
    assert medium.of_extension("d.png/A.FLAC").modality == "audio"
    assert not pictures & sounds
    assert {f".{extension}" for extension in FORMATS} <= sounds


def test_kinds_of_streams_are_told_by_their_flags():
    assert plan._kind_of_stream(b"VQ\1\0") == "image" and plan._kind_of_stream(b"VQ\1\1") == "audio"
    for head in (b"", b"VQ", b"RIFF", b"VQ\7\1", b"VQ\1\7"):  # whoever decodes it says what is wrong
        assert plan._kind_of_stream(head) == "image"


def scan(folder, leave_out=None, **selection):
    found = LocalStore(str(folder)).scan(Selection.of(**selection), leave_out)
    return [source.path for source in found.sources], dict(found.problems)


def test_scan(tmp_path):
    for path in ("b.png", "a/x.png", "a/.h/y.png", ".z.png", f"{TEMPORARY}1.tmp", "out/q.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "link.png").symlink_to("b.png")
    (tmp_path / "broken.png").symlink_to("nowhere")
    (tmp_path / "self.png").symlink_to("self.png")
    os.mkfifo(tmp_path / "fifo.png")
    paths, problems = scan(tmp_path, LocalStore(str(tmp_path / "out")))
    assert paths == ["a/x.png", "b.png", "link.png"]
    assert set(problems) == {"broken.png", "self.png", "fifo.png"}
    assert scan(tmp_path, hidden=True, exclude=["out", "*k.png"])[0] == [".z.png", "a/.h/y.png", "a/x.png", "b.png"]
    assert scan(tmp_path, include=["a/**"])[0] == ["a/x.png"]
    assert "out/q.png" in scan(tmp_path, LocalStore(str(tmp_path)))[0]  # in place: nothing is left out


def test_scanning_what_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("1")
    for path in ("file", "missing"):
        with pytest.raises(InputError):
            scan(tmp_path / path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folders_are_reported(tmp_path):
    (tmp_path / "a").mkdir(mode=0)
    assert "a" in scan(tmp_path)[1]


def test_a_torn_last_line_is_ended_and_ignored(tmp_path):
    path = tmp_path / NAME
    manifest = Manifest(LocalLog(str(path)))
    manifest.plan(["a.vq", "b.vq"])
    manifest.done(Source("a.png", 3, "1"), "a.vq", {"q": 1}, {"bytes": 5})
    manifest.close()
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        again = Manifest(LocalLog(str(path)))
        assert set(again.history.owned) in (set(), {"a.vq", "b.vq"})
        again.done(Source("c.png", 3, "1"), "c.vq", {"q": 1}, {"bytes": 5})
        again.close()
        history = Manifest(LocalLog(str(path))).history
        assert "c.png" in history.done and ("a.png" in history.done) == (cut >= len(whole) - 1)
        assert sum(line.startswith('{"status": "done", "source": "c.png"') for line in path.read_text().splitlines()) == 1


def test_a_failure_ends_what_was_done_before(tmp_path):
    manifest = Manifest(LocalLog(str(tmp_path / NAME)))
    manifest.done(Source("a.png", 3, "1"), "a.vq", {}, {"bytes": 5})
    manifest.failed("a.png", "a.vq", "why", 1)
    manifest.close()
    history = Manifest(LocalLog(str(tmp_path / NAME))).history
    assert history.done == {} and history.owned == {"a.vq"}


def test_two_batches_cannot_share_a_destination(tmp_path):
    log = LocalLog(str(tmp_path / NAME))
    with pytest.raises(InputError, match="another batch"):
        LocalLog(str(tmp_path / NAME), patience=0.1)
    log.close()
    LocalLog(str(tmp_path / NAME), patience=0.1).close()


def test_writing_replaces_a_link_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "source.png").write_text("precious")
    (tmp_path / "a.vq").symlink_to("source.png")
    LocalStore(str(tmp_path)).write("a.vq", b"new")
    assert (tmp_path / "source.png").read_text() == "precious" and (tmp_path / "a.vq").read_text() == "new"


def test_stale_temporaries_go_but_not_those_of_a_batch_below(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / NAME).write_text("")
    for folder in ("", "sub", "other"):
        (tmp_path / folder / f"{TEMPORARY}12.tmp").write_text("half")
    assert LocalStore(str(tmp_path)).remove_temporaries(NAME) == 2
    assert (tmp_path / "other" / f"{TEMPORARY}12.tmp").exists()


def test_the_memory_model_covers_what_was_measured():
    for mega, mib in ((0.39, 159), (0.39, 169), (1.5, 494), (1.5, 647), (3.84, 1242), (3.84, 1303), (3.84, 1317), (12, 2279), (12, 2389),
                      (12.6, 1140), (12.6, 1811), (25.2, 1930)):
        side = int((mega * 1e6) ** 0.5)
        assert mib <= picture_memory.needed(side, side) / 2**20 < 1.6 * mib + 120
    wide = 5165  # decoding in torch; encoding at effort 0 takes 3783
    assert wide <= picture_memory.needed(131_072, 544) / 2**20 < 1.25 * wide
    for width, height, mib in ((768, 512, 54), (1536, 1536, 248), (2048, 2048, 444), (8448, 8448, 1128), (32_768, 544, 720)):
        assert mib <= picture_memory.needed(width, height, "decode") / 2**20 < 1.55 * mib


def test_the_memory_model_knows_the_strips_of_wide_pictures():
    from vqcodec.picture.codec import PATCH, strips
    from vqcodec.picture.transform import halo
    from vqcodec.picture.config import TransformConfig

    reach = max(halo(TransformConfig()))
    for width, height in ((16, 16), (4000, 3000), (300, 70_000), (17_000, 640), (131_072, 544)):
        rows, columns = -(-height // PATCH), -(-width // PATCH)
        largest = max(min(rows, bottom + reach) - max(0, top - reach) for top, bottom in strips(rows, columns))
        assert largest * columns * PATCH**2 <= picture_memory.strip_pixels(width, height) <= 1.5 * largest * columns * PATCH**2 + 4e6


def test_the_memory_model_of_sound_covers_what_was_measured():
    for command, measured in (("encode", ((1, 212), (2, 191), (8, 603), (32, 1857))), ("decode", ((1, 162), (2, 164), (8, 265), (32, 276)))):
        for channels, mib in measured:
            assert mib <= sound_memory.needed(channels, channels, command) / 2**20 < 1.5 * mib
    assert memory.WORKER + sound_memory.needed(1, 1) >= 410 << 20  # after 164 recordings
    assert 79 + 212 <= sound_memory.needed(255, 1) / 2**20 < 400  # coded once


def test_settings_that_change_bytes_change_the_fingerprint():
    both = {"image": Encoding("m", "ab", request=Request(3.0)), "audio": Encoding("n", "ef", request=Request(target=("kbps", 2.0)))}
    base = Settings("encode", "s", "d", both)
    def asked(*args, **more):
        return dict(request=Request(*args, **more))

    for kind, other, changes in (
            ("image", "audio", (asked(4.0), asked(target=("bpp", 0.2)), asked(3.0, effort=3), asked(3.0, exact=True),
                                asked(3.0, strip=("gps",)), dict(model_hash="cd"))),
            ("audio", "image", (asked(target=("kbps", 3.0)), asked(target=("size", 9)), dict(encoder_hash="cd")))):
        for change in changes:
            changed = replace(base, encodings={**both, kind: replace(both[kind], **change)})
            assert changed.fingerprint(kind) != base.fingerprint(kind)
            assert changed.fingerprint(other) == base.fingerprint(other)
    for kind in both:
        for change in (dict(threads=2), dict(gpu=True)):
            assert replace(base, **change).fingerprint(kind) != base.fingerprint(kind)
        assert replace(base, source="t", models_dir="m").fingerprint(kind) == base.fingerprint(kind)
        assert json.loads(json.dumps(base.fingerprint(kind))) == base.fingerprint(kind)
    # as releases before sound wrote it, so that what they made stays complete
    assert base.fingerprint("image") == {"command": "encode", "quality": 3.0, "model_hash": "ab", "encoder": "",
                                         "threads": 1, "gpu": False}
    formats = {"image": Format("png", "PNG"), "audio": Format("wav", "WAV")}
    decoding = Settings("decode", "s", "d", formats=formats)
    assert decoding.fingerprint("image") == {"command": "decode", "format": "PNG", "gpu": False}
    fine = replace(decoding, formats={**formats, "audio": Format("wav", "WAV", "PCM_24")})
    assert fine.fingerprint("audio") != decoding.fingerprint("audio")


def test_manifests_with_the_first_digits_of_a_hash_still_count():
    now = Settings("encode", "s", "d", {"image": Encoding("m", "0123abcd" + "e" * 56, "f" * 64, Request(3.0))}).fingerprint("image")
    assert same_bytes(json.loads(json.dumps(now)), now)
    assert same_bytes({**now, "model_hash": "0123abcd"}, now)
    for change in ({"model_hash": "0123abce"}, {"model_hash": "0123"}, {"model_hash": ""}, {"model_hash": "0123abcd" + "f" * 56},
                   {"model_hash": 7}, {"model_hash": "0123abcd", "encoder": "e" * 64}, {"model_hash": "0123abcd", "quality": 2.0}):
        assert not same_bytes({**now, **change}, now), change
    for other in (None, [], "0123abcd", {}):
        assert not same_bytes(other, now)
    decoding = Settings("decode", "s", "d", formats={"image": Format("png", "PNG")}).fingerprint("image")
    assert same_bytes(dict(decoding), decoding) and not same_bytes(now, decoding)


def test_settings_travel_as_json():
    for settings in (Settings("encode", "s", "d", {"audio": Encoding("n", "ef", request=Request(target=("kbps", 2.0)))}, verify=True),
                     Settings("decode", "s", "d", formats={"audio": Format("flac", "FLAC", "PCM_24")})):
        assert Settings.from_dict(json.loads(json.dumps(asdict(settings)))) == settings


# --- dispatch --------------------------------------------------------------------------------------------

class FakeWorker:
    def __init__(self, engine):
        self.engine, self.inbox, self.job = engine, [{"ready": True}], None

    def send(self, job):
        self.job = job["source"]
        self.engine.running.append(self.job)
        self.engine.sizes.append(sorted(self.engine.running))
        self.inbox.append(job)

    def receive(self):
        message = self.inbox.pop(0)
        if "ready" in message:
            if self.engine.stillborn:
                raise Died("exit code 1")
            return message
        self.engine.running.remove(self.job)
        if self.engine.deaths.get(self.job, 0):
            self.engine.deaths[self.job] -= 1
            raise Died("signal 9")
        return {"bytes": 1}

    def close(self):
        self.engine.closed += 1


class FakeEngine:
    def __init__(self, deaths=None, stillborn=False):
        self.deaths, self.stillborn, self.running, self.sizes, self.started, self.closed = deaths or {}, stillborn, [], [], 0, 0

    def start(self):
        self.started += 1
        return FakeWorker(self)

    def wait(self, workers, timeout):
        return [worker for worker in workers if worker.inbox][-1:]

    def close(self):
        pass


def do(engine, costs, limit=None, count=3, strict=False):
    jobs = [Job(Source(name, 1, None), name + ".vq", "image") for name in costs]
    budget = Budget(limit, lambda job: costs[job.source.path], strict)
    return {job.source.path: outcome for job, outcome in dispatch(engine, jobs, count, budget) if job}


class HangingEngine(FakeEngine):
    """Never gives a result for "hangs"."""

    def wait(self, workers, timeout):
        return [worker for worker in workers if worker.inbox and worker.job != "hangs"][-1:]


def test_what_takes_too_long_is_ended_and_the_rest_is_done(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(dispatching.time, "monotonic", lambda: now.__setitem__(0, now[0] + 0.25) or now[0])
    engine, names = HangingEngine(), ["a", "hangs", "b", "c"]
    jobs = [Job(Source(name, 1, None), name + ".vq", "image") for name in names]
    found = {job.source.path: outcome for job, outcome in dispatch(engine, jobs, 1, Budget(None, lambda job: 0), 5.0) if job}
    assert [found[name] for name in "abc"] == [{"bytes": 1}] * 3
    assert found["hangs"].exit_code == 4 and "not done after 5 s (--limit-seconds raises it" in found["hangs"].message
    assert engine.started == engine.closed == 2  # it is not tried again


def test_pictures_at_work_stay_within_the_bound():
    costs = {f"{i}": cost for i, cost in enumerate([3, 9, 4, 4, 12, 1, 5, 10, 2])}
    engine = FakeEngine()
    assert set(do(engine, costs, limit=10)) == set(costs)
    assert all(sum(costs[name] for name in names) <= 10 or len(names) == 1 for names in engine.sizes)
    assert any(len(names) > 1 for names in engine.sizes) and engine.closed == engine.started


def test_a_strict_bound_refuses_what_never_fits():
    results = do(FakeEngine(), {"a": 3, "b": 12}, limit=10, strict=True)
    assert isinstance(results["b"], Failure) and results["a"] == {"bytes": 1}


def test_a_lost_worker_costs_one_try_of_its_file():
    engine = FakeEngine({"b": 1, "c": 2})
    results = do(engine, dict.fromkeys("abcdef", 1))
    assert results["b"] == {"bytes": 1} and "died twice" in results["c"].message and len(results) == 6
    retries = [names for names in engine.sizes if "c" in names][1:]
    assert retries and all(names == ["c"] for names in retries)


def test_workers_that_cannot_start_end_the_run():
    engine = FakeEngine(stillborn=True)
    with pytest.raises(InputError, match="before they are ready"):
        do(engine, {"a": 1})
    assert engine.started < 10


def test_planning_imports_no_torch():
    code = "import sys, vqcodec.cli.batch, vqcodec.batch.run, vqcodec.batch.plan\nprint({'torch', 'numpy', 'ray', 'fsspec'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_urls_need_their_file_system(tmp_path):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    with pytest.raises((UsageError, InputError)):
        open_store("nonsense://x/y")
    assert open_store(f"file://{tmp_path}").url == str(tmp_path)


# --- links, hostile trees and manifests ------------------------------------------------------------------

def test_each_folder_is_scanned_once_however_many_links_lead_there(tmp_path):
    for i in range(9):
        (tmp_path / f"d{i}").mkdir()
        (tmp_path / f"d{i}" / "x.png").write_text("1")
        for j in range(9):
            (tmp_path / f"d{i}" / f"to{j}").symlink_to(tmp_path / f"d{j}")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "y.png").write_text("1")
    (outside / "back").symlink_to(tmp_path)
    for name in ("m", "b"):
        (tmp_path / name).symlink_to(outside)
    assert scan(tmp_path)[0] == ["b/y.png", *(f"d{i}/x.png" for i in range(9))]  # their own paths; the first of two links
    (tmp_path / "a").symlink_to(tmp_path / "d3")
    assert scan(tmp_path, exclude=["d3"])[0][0] == "a/x.png"  # what is left out has no path of its own


@pytest.mark.parametrize("call", [LocalStore.write, lambda store, path, data: store.create(path).__enter__()])
def test_nothing_is_written_through_links_or_out_of_the_folder(tmp_path, call):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "dst" / "a").mkdir(parents=True)
    (tmp_path / "dst" / "a" / "b").symlink_to(outside)
    (tmp_path / "dst" / "file").write_text("1")
    store = LocalStore(str(tmp_path / "dst"))
    paths = {"a/b/x.vq": "a/b is a link", "a/b/c/x.vq": "a/b is a link", "../outside/x.vq": "leads out",
             "a/../../outside/x.vq": "leads out", "file/x.vq": "file is no folder"}
    assert {path for path in store.obstacles([*paths, "a/x.vq", "new/x.vq"])} == set(paths)
    for path, why in paths.items():
        assert why in store.obstacles([path])[path]
        with pytest.raises(InputError, match=why):
            call(store, path, b"new")
    assert os.listdir(outside) == []
    (tmp_path / "link").symlink_to(tmp_path / "dst")  # DST itself is the user's choice
    LocalStore(str(tmp_path / "link")).write("a/new/x.vq", b"new")
    assert (tmp_path / "dst" / "a" / "new" / "x.vq").read_bytes() == b"new"


def test_outputs_keep_the_permissions_of_what_they_replace(tmp_path):
    store = LocalStore(str(tmp_path))
    store.write("a/x.vq", b"1")
    (tmp_path / "a" / "x.vq").chmod(0o600)
    with store.create("a/x.vq") as file:
        names = os.listdir(tmp_path / "a")
        assert len(names) == 2 and {(tmp_path / "a" / name).stat().st_mode & 0o777 for name in names} == {0o600}
        file.write(b"2")
    assert (tmp_path / "a" / "x.vq").read_bytes() == b"2" and (tmp_path / "a" / "x.vq").stat().st_mode & 0o777 == 0o600


def test_the_manifest_is_a_file_of_its_own(tmp_path):
    store = LocalStore(str(tmp_path / "dst"))
    (tmp_path / "dst").mkdir()
    (tmp_path / "precious").write_text("1\n")
    (tmp_path / "dst" / NAME).symlink_to(tmp_path / "precious")
    for call in (store.open_log, store.read_log):
        with pytest.raises(InputError, match="it is a link"):
            call(NAME)
    assert (tmp_path / "precious").read_text() == "1\n"
    (tmp_path / "dst" / NAME).unlink()
    os.mkfifo(tmp_path / "dst" / NAME)
    for call in (store.open_log, store.read_log):
        with pytest.raises(InputError, match="not a regular file"):
            call(NAME)


def test_lines_that_make_no_sense_are_ignored(tmp_path):
    good = json.dumps({"status": "done", "source": "a.png", "output": "a.vq", "bytes": 5})
    lines = ["[" * 200_000, '{"status": ' * 100_000, "9" * 10_000, "null", "[]", '{"status": "done", "source": [], "output": 1}',
             '{"status": "planned", "outputs": 3}', '{"status": {}}', "\0\ufffd", good]
    (tmp_path / NAME).write_text("\n".join(lines))
    history = read_history(LocalStore(str(tmp_path)))
    assert list(history.done) == ["a.png"] and history.owned == {"a.vq"}


def test_ignored_files_are_told_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(medium, "of_extension", lambda path: medium.of_modality("image") if path.endswith(".png") else None)
    for name in ("a.png", "b.HEIC", "c.heic", "d.m4a", "e.xyz", "README", "f.vq"):
        (tmp_path / name).write_bytes(b"1")
    store, elsewhere = LocalStore(str(tmp_path)), LocalStore(str(tmp_path / "dst"))
    settings = Settings("encode", store.url, elsewhere.url, {"image": Encoding("m", request=Request(3.0))})
    found = make_plan(store, elsewhere, settings, Rules(), History())
    reasons = {file.source: file.reason for file in found.ignored}
    assert set(reasons) == {"b.HEIC", "c.heic", "d.m4a", "e.xyz", "README", "f.vq"}
    assert "'heif'" in reasons["b.HEIC"] and "'av'" in reasons["d.m4a"] and reasons["e.xyz"] == "unknown extension"
    assert found.ignored_by_extension()[:2] == [(2, ".heic", reasons["b.HEIC"]), (1, "", "no extension")]
    settings = Settings("decode", store.url, elsewhere.url, formats={"image": Format("png", "PNG")})
    assert {file.source for file in make_plan(store, elsewhere, settings, Rules(), History()).ignored} == set(reasons) - {"f.vq"} | {"a.png"}


@pytest.mark.parametrize("before, after, text", [(27_600, 1_300_000, " (1:47)"), (1_000, 2_500, " (1:2.5)"), (0, 5, ""),
                                                 (5, 0, ""), (2340, 100, " (23.4:1)"), (7, 7, " (1.0:1)")])
def test_ratios(before, after, text):
    assert ratio(Totals(bytes_in=before, bytes_out=after)) == text
