"""Models: hashes, finding, registering, export and import. The files here are bytes, not networks."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from vqcodec.zoo import modelfile, registration, registry
from vqcodec.errors import CorruptStreamError, InputError, UnknownModelError, UnsupportedError, UsageError

USER_DIR = registry.user_dir
FILES = {
    "codebook.safetensors": b"codebook", "config.toml": b"x = 1\n", "decoder.safetensors": b"decoder",
    "prior.safetensors": b"prior", "encoder.safetensors": b"encoder", "card.md": b"# card\n",
}


@pytest.fixture(autouse=True)
def user_dir(tmp_path, monkeypatch):
    """An empty user's folder, no packaged models, no environment."""
    folder = tmp_path / "user"
    monkeypatch.setattr(registry, "user_dir", lambda: folder)
    monkeypatch.setattr(registry, "packaged_dir", lambda: None)
    monkeypatch.delenv(registry.ENV, raising=False)
    return folder


def make(folder, name, id=None, status="experimental", modality=None, **changed):
    """Register a model in `folder`, some of its files changed (None: left out)."""
    source = folder / name
    source.mkdir(parents=True, exist_ok=True)
    for file, data in FILES.items():
        data = changed.get(file.partition(".")[0], data)
        if data is not None:
            (source / file).write_bytes(data)
    return registration.register(source, name, folder, id=id, status=status, modality=modality)


def snapshot(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def exported(tmp_path):
    """(entry, path of its .vqmodel file)"""
    entry = make(tmp_path / "source", "alpha", 7)
    path = tmp_path / "alpha.vqmodel"
    modelfile.export_model(entry, path)
    return entry, path


def rewrite(path, change):
    """Pass the members of an archive, as a list of (name, data), through `change` and write them back."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in change(members):
            archive.writestr(name, data)


# The hash.

def test_hash_is_as_specified(tmp_path):
    entry = make(tmp_path, "alpha")
    names = ["codebook.safetensors", "config.toml", "decoder.safetensors", "prior.safetensors"]
    text = "".join(f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}\n" for name in names)
    assert entry.hash == hashlib.sha256(text.encode()).digest()[:4]
    assert entry.hash.hex() == "4b471033"  # as sha256sum gives it


def test_hash_depends_on_what_decodes_only(tmp_path):
    entry = make(tmp_path / "0", "alpha")
    for changed in ({"encoder": b"other"}, {"encoder": None}, {"card": b"other"}, {"card": None}):
        assert make(tmp_path / "1", "alpha", **changed).hash == entry.hash
    for file in ("codebook", "config", "decoder", "prior"):
        assert make(tmp_path / file, "alpha", **{file: b"other"}).hash != entry.hash


def two_of_one_hash():
    """Two contents of config.toml that give the files here the same 4 bytes of hash: by the birthday paradox such are
    found among some 2^16."""
    lines = {file: f"{hashlib.sha256(FILES[file]).hexdigest()}  {file}\n" for file in registry.HASHED_FILES}
    found = {}
    for i in itertools.count():
        content = b"x = 1\n# %d\n" % i
        lines["config.toml"] = f"{hashlib.sha256(content).hexdigest()}  config.toml\n"
        digest = hashlib.sha256("".join(lines.values()).encode()).digest()
        if digest[:4] in found:
            return found[digest[:4]], content
        found[digest[:4]] = content


@pytest.fixture(scope="module")
def twins():
    return two_of_one_hash()


def test_models_are_told_apart_by_their_whole_hash(tmp_path, user_dir, twins):
    first, second = (make(tmp_path / str(i), "alpha", 7, "stable", config=content) for i, content in enumerate(twins))
    assert first.hash == second.hash == first.fingerprint[:4] and first.fingerprint != second.fingerprint
    assert len(first.fingerprint) == 32
    with pytest.raises(UsageError, match="streams depend on it"):
        registration.register(second.path, "alpha", tmp_path / "0")
    for entry in (first, second):
        modelfile.export_model(entry, tmp_path / f"{entry.path.parent.name}.vqmodel")
    modelfile.import_model(tmp_path / "0.vqmodel")
    before = snapshot(user_dir)
    with pytest.raises(InputError, match="another model named 'alpha'"):
        modelfile.import_model(tmp_path / "1.vqmodel")
    assert snapshot(user_dir) == before
    assert modelfile.import_model(tmp_path / "1.vqmodel", force=True).fingerprint == second.fingerprint
    assert registry.find_by_stream(7, first.hash).fingerprint == second.fingerprint  # the other is gone


def test_streams_that_fit_two_models_are_refused(tmp_path, user_dir, twins):
    first = make(tmp_path / "explicit", "alpha", 7, config=twins[0])
    assert registry.find_by_stream(7, first.hash, tmp_path / "explicit") == first
    make(user_dir, "alpha", 7, config=twins[0])  # the very same one in two folders
    assert registry.find_by_stream(7, first.hash, tmp_path / "explicit") == first
    for name in ("alpha", "beta"):
        second = make(tmp_path / name, name, 7, config=twins[1])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(registry.ENV, str(tmp_path / name))
            with pytest.raises(UnknownModelError, match="fits two models") as caught:
                registry.find_by_stream(7, first.hash, tmp_path / "explicit")
        for entry in (first, second):
            assert f"'{entry.name}' in {entry.path.parent}" in str(caught.value)
            assert entry.fingerprint.hex() in str(caught.value)


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_no_import_makes_streams_fit_two_models(tmp_path, user_dir, monkeypatch, twins, name):
    packaged = tmp_path / "packaged"
    monkeypatch.setattr(registry, "packaged_dir", lambda: packaged)
    make(packaged, "alpha", 7, config=twins[0])
    modelfile.export_model(make(tmp_path / "source", name, 7, config=twins[1]), tmp_path / "twin.vqmodel")
    for force in (False, True):
        with pytest.raises(InputError, match="could not be told from those of the installed model 'alpha'"):
            modelfile.import_model(tmp_path / "twin.vqmodel", force=force)
    assert not user_dir.exists()


# Finding.

def test_search_order_and_default(tmp_path, user_dir, monkeypatch):
    explicit, environment, packaged = (tmp_path / name for name in ("explicit", "environment", "packaged"))
    for number, folder in enumerate((explicit, environment, user_dir, packaged), 1):
        make(folder, "same", number, prior=b"%d" % number)
    make(packaged, "best", 9, "default")
    monkeypatch.setattr(registry, "packaged_dir", lambda: packaged)
    assert registry.find_by_name("same").id == 3
    monkeypatch.setenv(registry.ENV, str(environment))
    assert registry.find_by_name("same").id == 2
    assert registry.find_by_name("same", explicit).id == 1
    assert registry.find_by_name(None, explicit).name == "best"
    assert [entry.id for entry in registry.list_models(explicit)] == [1, 2, 3, 4, 9]
    hidden = registry.list_models(explicit)[3]
    assert registry.find_by_stream(4, hidden.hash, explicit) == hidden


def test_a_folder_given_twice_counts_once(tmp_path, monkeypatch):
    make(tmp_path, "alpha")
    monkeypatch.setenv(registry.ENV, str(tmp_path))
    assert len(registry.list_models(tmp_path / ".")) == 1


def test_default_without_one(tmp_path):
    with pytest.raises(UnknownModelError, match="no model of image is installed"):
        registry.find_by_name()
    make(tmp_path, "alpha")
    assert registry.find_by_name(None, tmp_path).name == "alpha"
    make(tmp_path, "beta")
    with pytest.raises(UnknownModelError, match="choose one of: alpha, beta"):
        registry.find_by_name(None, tmp_path)


def test_models_of_a_modality(tmp_path):
    make(tmp_path, "photo")
    with pytest.raises(UnknownModelError, match="no model of audio is installed"):
        registry.find_by_name(None, tmp_path, "audio")
    speech = make(tmp_path, "speech", modality="audio")
    assert registry.find_by_name(None, tmp_path).name == "photo"  # the only one
    assert registry.find_by_name(None, tmp_path, modality="audio") == speech
    for modality in (None, "audio"):
        assert registry.find_by_name("speech", tmp_path, modality) == speech
    with pytest.raises(UnsupportedError, match="'speech' is one of audio, not of image"):
        registry.find_by_name("speech", tmp_path)
    make(tmp_path, "music", modality="audio")
    with pytest.raises(UnknownModelError, match="models of audio is the default; choose one of: speech, music$"):
        registry.find_by_name(None, tmp_path, "audio")
    assert registry.find_by_stream(speech.id, speech.hash, tmp_path) == speech


def test_unknown_names_and_folders(tmp_path, monkeypatch):
    make(tmp_path, "alpha")
    with pytest.raises(UnknownModelError, match="'beta' is not installed .installed: alpha"):
        registry.find_by_name("beta", tmp_path)
    with pytest.raises(InputError, match="no models here"):
        registry.list_models(tmp_path / "alpha")
    monkeypatch.setenv(registry.ENV, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="no models here"):
        registry.list_models()


def test_unknown_streams_say_what_to_do(tmp_path):
    entry = make(tmp_path, "alpha", 7)
    with pytest.raises(UnknownModelError, match="model 8 with the hash 00010203, which is not installed.*import FILE"):
        registry.find_by_stream(8, bytes(range(4)), tmp_path)
    with pytest.raises(UnknownModelError, match=f"installed model 7 is another one.*'alpha'.*{entry.hash.hex()}"):
        registry.find_by_stream(7, bytes(range(4)), tmp_path)


def test_modalities_of_other_releases_harm_nobody(tmp_path):
    photo, film = make(tmp_path, "photo"), make(tmp_path, "film", status="default", modality="video")
    assert registry.list_models(tmp_path) == (photo, film) and registry.check(film) == ()
    assert registry.find_by_name(None, tmp_path) == photo
    assert registry.find_by_name("film", tmp_path, None) == film
    with pytest.raises(UnsupportedError, match="'film' is one of video, not of image"):
        registry.find_by_name("film", tmp_path)


# Registry files.

@pytest.mark.parametrize("text", [
    "nonsense", "model = 1", "other = 1", "[[model]]\nid = 1", "[[model]]\nid=1\nname='a'\nstatus='x'\nsha256=1",
    "a = " + "[" * 5000, "\xff",
])
def test_bad_registry_files(tmp_path, text):
    (tmp_path / registry.REGISTRY).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="REGISTRY.toml"):
        registry.list_models(tmp_path)


@pytest.mark.parametrize("change", [
    ("id = 7", "id = 65536"), ("id = 7", "id = -1"), ("id = 7", "id = true"), ("id = 7", 'id = "7"'),
    ('"alpha"', '"../alpha"'), ('"alpha"', '""'), ('"alpha"', '"Alpha"'), ('"alpha"', '"alpha."'),
    ('"experimental"', '"best"'), ('"prior.safetensors"', '"prior.pickle"'), ('"prior.safetensors" = "', '#'),
    ('"prior.safetensors" = "', '"prior.safetensors" = "0'), ('id = 7', 'id = 7\nextra = 1'),
    ('id = 7', 'id = 7\nmodality = "Video"'), ('id = 7', 'id = 7\nmodality = ""'), ('id = 7', 'id = 7\nmodality = 1'),
    ('id = 7', 'id = 7\nmodality = "abcdefghijklmnopq"'), ('id = 7', 'id = 7\nmodality = "audio\\n"'),
    ('id = 7', 'id = 7\nmodality = ["audio"]'),
])
def test_bad_rows(tmp_path, change):
    make(tmp_path, "alpha", 7)
    file = tmp_path / registry.REGISTRY
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(InputError, match="REGISTRY.toml"):
        registry.list_models(tmp_path)


def test_rows_must_not_share_id_or_name(tmp_path):
    make(tmp_path, "alpha", 7, "default")
    make(tmp_path, "beta", 8)
    text = (tmp_path / registry.REGISTRY).read_text()
    for old, new in (("id = 8", "id = 7"), ('"beta"', '"alpha"'), ('"experimental"', '"default"')):
        (tmp_path / registry.REGISTRY).write_text(text.replace(old, new))
        with pytest.raises(InputError):
            registry.list_models(tmp_path)


def test_the_packaged_registry_is_sound():
    checkout = registry.Path(registry.__file__).parents[2] / "models"
    for entry in registry.read_registry(checkout):
        assert registry.check(entry) == ()


# Registering and checking.

def test_register_gives_new_ids_and_keeps_old_ones(tmp_path):
    assert [make(tmp_path, name).id for name in ("alpha", "beta", "alpha")] == [32768, 32769, 32768]
    assert [make(tmp_path, "gamma", 40).id, make(tmp_path, "delta", 40000).id, make(tmp_path, "epsilon").id] == [40, 40000, 40001]
    assert [entry.id for entry in registry.list_models(tmp_path)] == [40, 32768, 32769, 40000, 40001]
    make(tmp_path, "last", 65535)
    with pytest.raises(UsageError, match="no number above the highest in use is left"):
        make(tmp_path, "more")
    assert make(tmp_path, "alpha").id == 32768  # it has its number


def test_new_ids_are_free_in_all_folders(tmp_path, user_dir, monkeypatch):
    make(user_dir, "mine", 33000)
    make(tmp_path / "environment", "theirs", 34000)
    assert make(tmp_path / "new", "alpha").id == 33001
    monkeypatch.setenv(registry.ENV, str(tmp_path / "environment"))
    assert make(tmp_path / "new", "beta").id == 34001
    monkeypatch.setenv(registry.ENV, str(tmp_path / "not-yet"))
    assert make(tmp_path / "not-yet", "gamma").id == 33001


def test_models_of_the_package_keep_small_ids(tmp_path, user_dir, monkeypatch):
    packaged = tmp_path / "packaged"
    monkeypatch.setattr(registry, "packaged_dir", lambda: packaged)
    make(user_dir, "mine", 40000)
    make(packaged, "odd", 50000)
    assert [make(packaged, name).id for name in ("photo", "speech")] == [1, 2]
    assert make(user_dir, "other").id == 50001


def test_register_copies_from_elsewhere(tmp_path):
    make(tmp_path / "run", "result")
    entry = registration.register(tmp_path / "run" / "result", "alpha", tmp_path / "models")
    assert entry.path == tmp_path / "models" / "alpha"
    assert {file: (entry.path / file).read_bytes() for file in FILES} == FILES
    assert registry.find_by_name("alpha", tmp_path / "models") == entry
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["REGISTRY.toml", "alpha"]


def test_one_default_at_most(tmp_path):
    make(tmp_path, "alpha", status="default")
    make(tmp_path, "beta", status="default", prior=b"other")
    assert [(e.name, e.status) for e in registry.list_models(tmp_path)] == [("alpha", "stable"), ("beta", "default")]


def test_one_default_for_each_modality(tmp_path):
    make(tmp_path, "photo", status="default")
    make(tmp_path, "speech", status="default", modality="audio")
    make(tmp_path, "speech-2", status="default", modality="audio", prior=b"other")
    assert [(e.name, e.status, e.modality) for e in registry.list_models(tmp_path)] == [
        ("photo", "default", "image"), ("speech", "stable", "audio"), ("speech-2", "default", "audio")]
    file = tmp_path / registry.REGISTRY
    file.write_text(file.read_text().replace('"stable"', '"default"'))
    with pytest.raises(InputError, match="two models of one modality are the default"):
        registry.list_models(tmp_path)


def test_the_modality_is_written_for_sound_only(tmp_path):
    make(tmp_path, "photo")
    make(tmp_path, "speech", modality="audio")
    text = (tmp_path / registry.REGISTRY).read_text()
    tables = text.split("[[model]]")[1:]
    assert "modality" not in tables[0] and 'modality = "audio"\n' in tables[1]
    given = text.replace("id = 32768\n", 'id = 32768\nmodality = "image"\n')
    assert given != text
    (tmp_path / registry.REGISTRY).write_text(given)
    assert [e.modality for e in registry.list_models(tmp_path)] == ["image", "audio"]
    assert registry.to_toml(registry.list_models(tmp_path)) == text


def test_a_model_keeps_its_modality(tmp_path):
    make(tmp_path, "speech", modality="audio")
    assert make(tmp_path, "speech", status="stable").modality == "audio"
    with pytest.raises(UsageError, match="streams depend on it"):
        make(tmp_path, "speech", modality="image")
    with pytest.raises(UsageError, match="modality must be 1 to 16 letters"):
        make(tmp_path, "other", modality="smell-o-vision")
    make(tmp_path, "draft", modality="audio")
    assert make(tmp_path, "draft", modality="image").modality == "image"


def test_register_refuses(tmp_path):
    make(tmp_path, "alpha", 7, "stable")
    before = (tmp_path / registry.REGISTRY).read_bytes()
    with pytest.raises(UsageError, match="streams depend on it"):
        make(tmp_path, "alpha", prior=b"other")
    with pytest.raises(UsageError, match="for ever"):
        make(tmp_path, "alpha", 8)
    with pytest.raises(UsageError, match="another model"):
        make(tmp_path, "beta", 7)
    for bad in ({"name": "Bad Name"}, {"name": "beta", "id": 1 << 16}, {"name": "beta", "status": "best"}):
        with pytest.raises(UsageError):
            registration.register(tmp_path / "alpha", models_dir=tmp_path, **bad)
    with pytest.raises(InputError, match="prior.safetensors"):
        make(tmp_path, "gamma", prior=None)
    assert (tmp_path / registry.REGISTRY).read_bytes() == before


def test_check_and_read(tmp_path):
    entry = make(tmp_path, "alpha")
    assert registry.check(entry) == ()
    assert entry.read("prior.safetensors") == b"prior"
    (entry.path / "prior.safetensors").write_bytes(b"priOr")
    (entry.path / "card.md").unlink()
    problems = registry.check(entry)
    assert len(problems) == 2 and "prior.safetensors: damaged" in problems[0] and "card.md" in problems[1]
    with pytest.raises(CorruptStreamError):
        entry.read("prior.safetensors")
    with pytest.raises(InputError):
        entry.read("card.md")
    with pytest.raises(InputError, match="has no"):
        replace(entry, sha256={f: h for f, h in entry.sha256.items() if f != registry.ENCODER}).read(registry.ENCODER)


def test_text_files_are_short(exported, tmp_path):
    long = b"#" * (registry.MAX_TEXT + 1)
    for file in ("config", "card"):
        with pytest.raises(InputError, match="more than 65536 bytes"):
            make(tmp_path / "long", "beta", **{file: long})
    rewrite(exported[1], lambda members: [(name, long if name == "card.md" else data) for name, data in members])
    with pytest.raises(CorruptStreamError, match="card.md has more than 65536 bytes"):
        modelfile.import_model(exported[1])


# Export and import.

def test_round_trip(exported, user_dir):
    entry, path = exported
    got = modelfile.import_model(path)
    assert got == replace(entry, path=user_dir / "alpha")
    assert registry.find_by_stream(7, entry.hash) == got
    assert {file: (got.path / file).read_bytes() for file in FILES} == FILES
    assert sorted(p.name for p in user_dir.iterdir()) == ["REGISTRY.toml", "alpha"]
    assert (got.path.stat().st_mode & 0o777) == 0o777 & ~umask()


def test_the_modality_travels(tmp_path, user_dir):
    entry = make(tmp_path / "source", "speech", 7, "default", modality="audio")
    path = tmp_path / "speech.vqmodel"
    for decoder_only in (True, False):
        modelfile.export_model(entry, path, decoder_only, force=True)
        got = modelfile.import_model(path, force=True)
        assert (got.modality, got.status) == ("audio", "stable")
        assert registry.find_by_name(None, modality="audio") == got


def test_a_model_of_another_modality_is_another_model(exported, user_dir):
    make(user_dir, "alpha", 7, modality="audio")
    with pytest.raises(InputError, match="another model named 'alpha'"):
        modelfile.import_model(exported[1])
    assert modelfile.import_model(exported[1], force=True).modality == "image"


def umask():
    value = os.umask(0)
    os.umask(value)
    return value


def test_export_is_deterministic_and_does_not_overwrite(exported):
    entry, path = exported
    first = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        modelfile.export_model(entry, path)
    modelfile.export_model(entry, path, force=True)
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [registry.REGISTRY, *registry.FILES]


def test_export_refuses_damaged_models(exported, tmp_path):
    entry, _ = exported
    (entry.path / "decoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(CorruptStreamError):
        modelfile.export_model(entry, tmp_path / "new.vqmodel")
    assert not (tmp_path / "new.vqmodel").exists()


def test_decoder_only(exported, tmp_path, user_dir):
    entry, full = exported
    small = tmp_path / "small.vqmodel"
    modelfile.export_model(entry, small, decoder_only=True)
    got = modelfile.import_model(small)
    assert got.hash == entry.hash and not got.has_encoder and not (got.path / registry.ENCODER).exists()
    assert modelfile.import_model(full).has_encoder  # completes it
    assert modelfile.import_model(small).has_encoder  # which is not lost again


def test_what_an_import_is_asked_about(exported, user_dir):
    """The check sees the whole model before any of it is written, and its error is the import's."""
    entry, path = exported

    def refuse(packed):
        assert (packed.name, packed.id, packed.fingerprint, packed.sha256) == ("alpha", 7, entry.fingerprint, entry.sha256)
        assert {file: packed.read(file) for file in packed.sha256} == FILES
        raise InputError("not for us")

    with pytest.raises(InputError, match="not for us"):
        modelfile.import_model(path, force=True, check=refuse)
    assert not user_dir.exists()
    assert modelfile.import_model(path, check=lambda packed: None).path == user_dir / "alpha"


def test_import_twice_changes_nothing_and_repairs(exported, user_dir):
    _, path = exported
    got = modelfile.import_model(path)
    before = snapshot(user_dir)
    assert modelfile.import_model(path) == got and snapshot(user_dir) == before
    (got.path / "prior.safetensors").write_bytes(b"damaged")
    assert modelfile.import_model(path) == got and snapshot(user_dir) == before


def test_an_import_is_never_the_default(tmp_path, user_dir):
    make(user_dir, "mine", 1, "default")
    modelfile.export_model(make(tmp_path / "source", "alpha", 7, "default"), tmp_path / "a.vqmodel")
    assert modelfile.import_model(tmp_path / "a.vqmodel").status == "stable"
    assert registry.find_by_name().name == "mine"


def test_clashes(exported, tmp_path, user_dir):
    entry, path = exported
    make(user_dir, "alpha", 7, prior=b"other")
    before = snapshot(user_dir)
    with pytest.raises(InputError, match="another model named 'alpha'"):
        modelfile.import_model(path)
    assert snapshot(user_dir) == before
    assert modelfile.import_model(path, force=True).hash == entry.hash
    assert len(registry.list_models()) == 1 and registry.check(registry.find_by_name("alpha")) == ()
    other = tmp_path / "other"
    make(other, "beta", 7)
    for force in (False, True):
        with pytest.raises(InputError, match="number 7"):
            modelfile.import_model(path, other, force)


def test_clashes_with_other_folders(exported, tmp_path, user_dir, monkeypatch):
    entry, path = exported
    packaged = tmp_path / "packaged"
    monkeypatch.setattr(registry, "packaged_dir", lambda: packaged)
    for name, message in (("alpha", "another model named"), ("beta", "number 7")):
        packaged = tmp_path / f"packaged-{name}"
        make(packaged, name, 7, prior=b"other")
        with pytest.raises(InputError, match=message):
            modelfile.import_model(path)
        assert not user_dir.exists()
    packaged = entry.path.parent  # the very same model is no clash
    assert modelfile.import_model(path).path == user_dir / "alpha"


def test_unregistered_folders_are_not_replaced(exported, user_dir):
    (user_dir / "alpha").mkdir(parents=True)
    with pytest.raises(InputError, match="exists"):
        modelfile.import_model(exported[1])
    assert modelfile.import_model(exported[1], force=True).path == user_dir / "alpha"


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_failed_installation_changes_nothing(exported, user_dir, monkeypatch, failure):
    make(user_dir, "alpha", 7, prior=b"other")
    before = snapshot(user_dir)

    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(registration, "write_output", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        modelfile.import_model(exported[1], force=True)
    assert snapshot(user_dir) == before
    monkeypatch.setattr(registry.Path, "mkdir", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        modelfile.import_model(exported[1], force=True)
    assert snapshot(user_dir) == before


def test_every_flipped_byte_is_noticed_or_harmless(exported, tmp_path, user_dir):
    entry, path = exported
    data = path.read_bytes()
    for position in range(0, len(data), 3):
        damaged = data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1:]
        path.write_bytes(damaged)
        target = tmp_path / "targets" / str(position)
        try:
            got = modelfile.import_model(path, target)
        except CorruptStreamError:
            assert not target.exists()
        else:  # a timestamp, say
            assert got.sha256 == entry.sha256 and (got.id, got.name) == (entry.id, entry.name)


def test_every_truncation_is_noticed(exported, user_dir):
    data = exported[1].read_bytes()
    for length in range(1, len(data), 37):
        exported[1].write_bytes(data[:length])
        with pytest.raises(CorruptStreamError):
            modelfile.import_model(exported[1])
    assert not user_dir.exists()


HOSTILE = {
    "parent": lambda members: [*members, ("../evil.toml", b"")],
    "absolute": lambda members: [*members, ("/evil.toml", b"")],
    "folder": lambda members: [*members, ("x/config.toml", b"")],
    "unknown": lambda members: [*members, ("evil.py", b"")],
    "missing file": lambda members: members[:-1],
    "missing registry": lambda members: members[1:],
    "empty": lambda members: [],
    "other content": lambda members: [*members[:-1], (members[-1][0], b"other")],
    "two models": lambda members: [(members[0][0], members[0][1] + members[0][1].replace(b"alpha", b"beta")
                                    .replace(b"id = 7", b"id = 8")), *members[1:]],
    "no model": lambda members: [(members[0][0], b""), *members[1:]],
    "bad name": lambda members: [(members[0][0], members[0][1].replace(b"alpha", b"../x")), *members[1:]],
    "not TOML": lambda members: [(members[0][0], b"\xff\x00"), *members[1:]],
    "large registry": lambda members: [(members[0][0], members[0][1] + b"#" * (1 << 16)), *members[1:]],
    "duplicate": lambda members: [*members, members[1]],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives(exported, user_dir, tmp_path, change):
    rewrite(exported[1], change)
    before = snapshot(tmp_path)
    for force in (False, True):
        with pytest.raises(CorruptStreamError):
            modelfile.import_model(exported[1], force=force)
    assert snapshot(tmp_path) == before


def test_names_with_a_nul_are_refused(exported):
    rewrite(exported[1], lambda members: [*members[:-1], ("card.mdX", members[-1][1])])
    exported[1].write_bytes(exported[1].read_bytes().replace(b"card.mdX", b"card.md\0"))
    with pytest.raises(CorruptStreamError):
        modelfile.import_model(exported[1])


def test_compressed_archives_are_refused(exported):
    with zipfile.ZipFile(exported[1]) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    exported[1].write_bytes(packed.getvalue())
    with pytest.raises(CorruptStreamError, match="compressed"):
        modelfile.import_model(exported[1])


def test_large_members_are_refused(exported, monkeypatch):
    monkeypatch.setattr(registry, "MAX_FILE", 4)
    with pytest.raises(CorruptStreamError, match="more than 4 bytes|too large"):
        modelfile.import_model(exported[1])


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(InputError):
        modelfile.import_model(tmp_path / "nothing")
    with pytest.raises(InputError):
        modelfile.import_model(tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CorruptStreamError, match="text: damaged, or not a model file"):
        modelfile.import_model(tmp_path / "text")


# Places.

@pytest.mark.skipif(os.name == "nt", reason="POSIX folders")
@pytest.mark.parametrize("platform, expected", [
    ("linux", "data/vqcodec/models"), ("darwin", "home/Library/Application Support/vqcodec/models"),
])
def test_user_dir(tmp_path, platform, expected):
    code = (f"import sys, os; sys.platform = {platform!r}\n"
            "from vqcodec.zoo import registry; print(registry.user_dir())")
    env = {"HOME": str(tmp_path / "home"), "XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONPATH": ":".join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(tmp_path / expected)


def test_importing_the_registry_imports_nothing_heavy():
    code = "import sys, vqcodec.zoo.modelfile; print({'torch', 'numpy', 'PIL', 'safetensors'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


@pytest.mark.parametrize("variables, found", [
    ({}, None), ({"HOME": "relative"}, None), ({"XDG_DATA_HOME": "relative"}, None),
    ({"XDG_DATA_HOME": "/data"}, "/data/vqcodec/models"), ({"HOME": "/h"}, "/h/.local/share/vqcodec/models"),
    ({"HOME": "/h", "XDG_DATA_HOME": ""}, "/h/.local/share/vqcodec/models")])
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="they have other folders")
def test_users_without_a_home(monkeypatch, variables, found):
    import pwd

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(registry, "user_dir", USER_DIR)
    assert registry.user_dir() == (found and Path(found))
    registry.search_path()
    if found is None:
        with pytest.raises(InputError, match="give --models-dir"):
            modelfile.import_model("x.vqmodel")


def test_reserved_ids_and_names_stay_so(tmp_path):
    folder = tmp_path / "models"
    make(folder, "alpha", 5)
    file = folder / registry.REGISTRY
    file.write_text(file.read_text() + '\n[[reserved]]\nid = 3\nname = "old"\n')
    make(folder, "beta", 6)  # writes the file anew
    assert registry.read_reserved(folder) == {3: "old"} and registry.read_reserved(tmp_path) == {}
    assert [entry.name for entry in registry.read_registry(folder)] == ["alpha", "beta"]
    for name, id in (("gamma", 3), ("old", 7)):
        with pytest.raises(UsageError, match="never released"):
            make(folder, name, id)
    with pytest.raises(UsageError, match="never released"):
        registration.check_new("old", folder, "image")
    with pytest.raises(UnknownModelError, match="model 'old' was never released"):
        registry.find_by_stream(3, bytes(4), folder)
    with pytest.raises(UnknownModelError, match=r"model 'old' was never released \(installed: alpha, beta\)"):
        registry.find_by_name("old", folder)


@pytest.mark.parametrize("table", [
    'id = 5\nname = "old"', 'id = 3\nname = "alpha"', 'id = 70000\nname = "old"', 'id = 3\nname = "../x"', 'id = "3"\nname = "old"',
    "id = 3", 'id = 3\nname = "old"\nstatus = "stable"'])
def test_bad_reserved_tables_are_refused(tmp_path, table):
    make(tmp_path, "alpha", 5)
    file = tmp_path / registry.REGISTRY
    file.write_text(file.read_text() + f"\n[[reserved]]\n{table}\n")
    with pytest.raises(InputError, match="REGISTRY.toml"):
        registry.read_registry(tmp_path)


def test_a_model_that_was_reserved_can_be_imported(exported, tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / registry.REGISTRY).write_text('[[reserved]]\nid = 7\nname = "alpha"\n')
    modelfile.import_model(exported[1], models_dir=folder)
    assert registry.read_reserved(folder) == {} and registry.find_by_name("alpha", folder).id == 7
