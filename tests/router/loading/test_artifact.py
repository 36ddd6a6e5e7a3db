from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy as copy_of
from pathlib import Path
from typing import Any, NoReturn, cast

import joblib
import numpy as np
import pytest

from router.errors import ArtifactError, DamagedArtifact, ForeignArtifact, NewerArtifact
from router.loading.artifact import (
    CACHED_FORMAT,
    CASCADE_FORMAT,
    LARGEST_FILE,
    LARGEST_MANIFEST,
    MANIFEST,
    load_arrays,
    new_folder,
    read_manifest,
    save_arrays,
    seal,
)
from router.serving.client import Router
from router.settings.sections import Config
from router.version import CANARIES
from tests.whole.test_kept import KEPT

FILES = (
    "head.safetensors",
    "neighbours.safetensors",
    "runner_up.safetensors",
    "training_keys.safetensors",
    "encoder/encoder.onnx",
    "encoder/tokenizer.json",
)


@pytest.fixture
def copy(router_folder: Path, tmp_path: Path) -> Path:
    """A copy of the trained router, to be spoiled."""
    return Path(shutil.copytree(router_folder, tmp_path / "copy"))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A sealed folder with one file, as small as they come."""
    with new_folder(tmp_path / "small") as folder:
        (folder / "a.txt").write_text("a")
        seal(folder, {"models": ["x"], "created": "today"})
    return tmp_path / "small"


def signed_again(folder: Path, **changes: object) -> None:
    """Change the manifest and make its own hash right again, as someone who knows the format could."""
    manifest = {**json.loads((folder / MANIFEST).read_bytes()), **changes}
    del manifest["sha256"]
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, indent=1, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


def test_a_file_of_a_size_that_no_router_has_is_not_read(small: Path) -> None:
    os.truncate(small / "a.txt", LARGEST_FILE + 1)
    with pytest.raises(DamagedArtifact, match=r"a\.txt: 4,294,967,297 bytes, but at most"):
        read_manifest(small)
    os.truncate(small / MANIFEST, LARGEST_MANIFEST + 1)
    with pytest.raises(DamagedArtifact, match=r"manifest\.json: 67,108,865 bytes, but at most"):
        read_manifest(small)


def flip_middle_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_router_is_these_files_and_no_others(router_folder: Path) -> None:
    assert sorted(content_of(router_folder)) == sorted((*FILES, MANIFEST))


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_refused_with_the_files_name(copy: Path, name: str) -> None:
    flip_middle_byte(copy / name)
    with pytest.raises(DamagedArtifact, match=rf"{name}: sha256 is .* it was changed or cut; train or fetch"):
        Router.load(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_refused_with_its_name(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    with pytest.raises(DamagedArtifact, match=f"{name}: sha256 is"):
        Router.load(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_with_its_name(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(DamagedArtifact, match=f"{name}: missing; train or fetch the router again"):
        Router.load(copy)


def test_an_edited_manifest_is_refused(small: Path) -> None:
    text = (small / MANIFEST).read_text()
    (small / MANIFEST).write_text(text.replace('"x"', '"y"'))
    with pytest.raises(DamagedArtifact, match="changed since it was written"):
        read_manifest(small)


def test_a_manifest_that_is_only_laid_out_anew_is_accepted(small: Path) -> None:
    (small / MANIFEST).write_text(json.dumps(json.loads((small / MANIFEST).read_text())))
    assert read_manifest(small)["models"] == ["x"]


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/hostname", "a/../../outside.txt"], ids=["parent", "absolute", "hidden"]
)
def test_a_manifest_that_names_a_file_outside_the_folder_is_refused(small: Path, name: str) -> None:
    (small.parent / "outside.txt").write_text("a")
    signed_again(small, files={name: hashlib.sha256(b"a").hexdigest()})
    with pytest.raises(DamagedArtifact, match=f"names a file outside the folder: {name!r}"):
        read_manifest(small)


def test_a_link_to_a_file_outside_the_folder_is_refused(small: Path) -> None:
    (small / "a.txt").rename(small.parent / "a.txt")
    (small / "a.txt").symlink_to(small.parent / "a.txt")
    with pytest.raises(DamagedArtifact, match=r"names a file outside the folder: 'a\.txt'"):
        read_manifest(small)


def test_a_manifest_that_is_a_link_to_outside_is_refused(small: Path) -> None:
    (small / MANIFEST).rename(small.parent / MANIFEST)
    (small / MANIFEST).symlink_to(small.parent / MANIFEST)
    with pytest.raises(DamagedArtifact, match=r"names a file outside the folder: 'manifest\.json'"):
        read_manifest(small)


def test_a_manifest_without_files_is_refused(small: Path) -> None:
    signed_again(small, files={})
    with pytest.raises(DamagedArtifact, match="lists no file, so nothing is checked"):
        read_manifest(small)


def test_an_unreadable_file_is_told_with_the_user_and_the_mode(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(self: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(self))

    (small / MANIFEST).chmod(0o600)
    monkeypatch.setattr(Path, "read_bytes", closed)
    with pytest.raises(ArtifactError, match=r"manifest\.json: user \d+ may not read it \(mode 600\)"):
        read_manifest(small)


DEEP: Any = functools.reduce(lambda inner, _: [inner], range(500), cast("Any", "x"))
ODD: list[Any] = [None, True, -1, 10**30, 1e308, "", "\0", "x" * 5000, [], {}, [[]], {"a": None}, DEEP]


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in a JSON document; of a list's items the first only."""
    items = (
        value.items()
        if isinstance(value, dict)
        else list(enumerate(value))[:1]
        if isinstance(value, list)
        else ()
    )
    for name, inner in items:
        yield (*path, name)
        yield from places(inner, (*path, name))


MANIFEST_KEPT = json.loads((KEPT / "format_1" / MANIFEST).read_bytes())


@pytest.mark.parametrize("path", list(places(MANIFEST_KEPT)), ids=lambda path: ".".join(map(str, path)))
def test_an_odd_or_missing_value_anywhere_is_refused_or_does_no_harm(
    tmp_path: Path, path: tuple[str | int, ...]
) -> None:
    folder = shutil.copytree(KEPT / "format_1", tmp_path / "router")
    for odd in [*ODD, ...]:
        whole = copy_of(MANIFEST_KEPT)
        place = functools.reduce(lambda at, name: at[name], path[:-1], whole)
        if odd is ...:
            del place[path[-1]]
        else:
            place[path[-1]] = odd
        whole.pop("sha256", None)
        text = json.dumps(whole, indent=1, sort_keys=True)
        sealed = hashlib.sha256(text.encode()).hexdigest()
        (folder / MANIFEST).write_text(json.dumps({**whole, "sha256": sealed}))
        try:
            router = Router.load(folder, config=Config())
        except ArtifactError:
            continue
        for request in CANARIES:
            assert router.decide(request).model in router.models


def test_a_link_to_the_folder_itself_is_fine(small: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(small, target_is_directory=True)
    assert read_manifest(tmp_path / "current") == read_manifest(small)


def test_an_address_with_a_typo_is_named_as_one() -> None:
    with pytest.raises(ForeignArtifact, match="an address in MLflow begins with models:/"):
        read_manifest(Path("model:/support@champion"))


def test_a_folder_of_a_newer_format_says_so(small: Path) -> None:
    signed_again(small, format_version=99)
    with pytest.raises(NewerArtifact, match="router format 99, this code reads up to 5: upgrade pointsman"):
        read_manifest(small)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        pytest.param(lambda f: None, ForeignArtifact, "no such folder; `pointsman train", id="no folder"),
        pytest.param(
            lambda f: f.write_text("a"), ForeignArtifact, "no such folder; it is a file", id="a file"
        ),
        pytest.param(Path.mkdir, ForeignArtifact, "no manifest.json in it, so it is no", id="empty folder"),
        pytest.param("{", DamagedArtifact, "not valid JSON .*; train or fetch", id="half a manifest"),
        pytest.param("\xff", DamagedArtifact, "not valid JSON", id="binary manifest"),
        pytest.param("[]", ForeignArtifact, "does not say format 'pointsman-router'", id="a list"),
        pytest.param('{"format": "x"}', ForeignArtifact, "does not say format", id="another format"),
        pytest.param('{"format": "pointsman-router"}', ForeignArtifact, "does not say", id="no version"),
    ],
)
def test_a_foreign_folder_is_refused_with_the_reason(
    tmp_path: Path, make: str | Callable[[Path], object], error: type[ArtifactError], message: str
) -> None:
    folder = tmp_path / "other"
    if isinstance(make, str):
        folder.mkdir()
        (folder / MANIFEST).write_bytes(make.encode("latin-1"))
    else:
        make(folder)
    with pytest.raises(error, match=message):
        Router.load(folder)


def test_loading_a_router_and_deciding_never_unpickles(
    router_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (joblib, "load")):
        monkeypatch.setattr(module, name, refuse)
    assert Router.load(router_folder).route("hi").model


def test_no_file_of_a_router_is_a_pickle(router_folder: Path) -> None:
    heads = {name: content[:2] for name, content in content_of(router_folder).items()}
    assert not [name for name, head in heads.items() if head[:1] == b"\x80" or head == b"PK"]


def test_the_same_content_has_the_same_policy_version_whenever_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    one, other = (seal(tmp_path, {"models": ["x"], "created": when}) for when in ("today", "tomorrow"))
    assert one["policy_version"] == other["policy_version"]
    assert one["sha256"] != other["sha256"]


@pytest.mark.parametrize(
    ("content", "manifest"),
    [
        pytest.param("b", {"models": ["x"]}, id="another file"),
        pytest.param("a", {"models": ["y"]}, id="another model"),
    ],
)
def test_another_router_has_another_policy_version(
    tmp_path: Path, content: str, manifest: dict[str, Any]
) -> None:
    (tmp_path / "a.txt").write_text("a")
    first = seal(tmp_path, {"models": ["x"]})["policy_version"]
    (tmp_path / "a.txt").write_text(content)
    assert seal(tmp_path, manifest)["policy_version"] != first


def test_the_loaded_manifest_is_the_written_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    written = seal(tmp_path, {"models": ["Größe", "x"]})
    assert read_manifest(tmp_path) == written


def fail_inside(target: Path) -> None:
    with new_folder(target) as folder:
        (folder / "half.txt").write_text("a")
        raise RuntimeError("the disk is full")


def test_a_writer_that_fails_leaves_the_old_router_as_it_was(small: Path) -> None:
    before = content_of(small)
    with pytest.raises(RuntimeError, match="the disk is full"):
        fail_inside(small)
    assert content_of(small) == before


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the disk is full"):
        fail_inside(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_new_router_replaces_the_old_one_and_leaves_nothing_else(small: Path) -> None:
    with new_folder(small) as folder:
        (folder / "b.txt").write_text("b")
        seal(folder, {})
    assert sorted(content_of(small)) == ["b.txt", MANIFEST]
    assert list(small.parent.iterdir()) == [small]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o027, 0o077])
def test_what_is_written_follows_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for _ in range(2):  # new, and in place of another
            with new_folder(tmp_path / "out") as folder:
                save_arrays(folder / "x.safetensors", {"a": np.zeros(3)})
                seal(folder, {})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out", *tmp_path.glob("out/*"))}
    files = 0o666 & ~umask
    assert modes == {"out": 0o777 & ~umask, "x.safetensors": files, MANIFEST: files}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a")
        seal(folder, {})
    assert list(read_manifest(tmp_path / "out")["files"]) == ["a.txt"]


def test_a_folder_that_is_no_router_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(ArtifactError, match="exists and is no router folder: choose another --out"),
        new_folder(tmp_path),
    ):
        pass
    assert content_of(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a")
    with pytest.raises(ArtifactError, match="exists and is no router folder"), new_folder(tmp_path / "out"):
        pass


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    with pytest.raises(ArtifactError, match="can't be written"), new_folder(tmp_path / "file" / "out"):
        pass


def test_the_current_folder_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(ArtifactError, match=r"is the current folder .*: name a folder inside it"),
        new_folder(Path()),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_moved_is_refused_and_stays(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(self: Path, target: Path) -> NoReturn:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", busy)
    with (
        pytest.raises(ArtifactError, match=r"can't be replaced: .*busy; name a folder inside it"),
        new_folder(small),
    ):
        pass
    assert list(small.parent.iterdir()) == [small]


def test_arrays_survive_their_file(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3)[:, ::-1], "b.c": np.array([1], np.uint64)}
    save_arrays(tmp_path / "x.safetensors", arrays)
    found = load_arrays(tmp_path / "x.safetensors")
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


@pytest.mark.parametrize("content", [b"", b"no arrays here", pickle.dumps([1, 2])])
def test_a_file_without_arrays_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(DamagedArtifact, match=r"x\.safetensors: can't be read"):
        load_arrays(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("cached", "version"),
    [
        pytest.param({}, 2, id="no cache in the prices"),
        pytest.param({"cached_price": 0.5}, CACHED_FORMAT, id="a cache in the prices"),
    ],
)
def test_earlier_code_refuses_only_prices_that_it_would_misread(
    tmp_path: Path, cached: dict[str, float], version: int
) -> None:
    with new_folder(tmp_path / "router") as folder:
        manifest = seal(folder, {"models": ["x"], "prices": {"x": {"per_call": 1.0, **cached}}})
    assert manifest["format_version"] == version


def test_earlier_code_refuses_a_router_with_a_cascade_and_this_code_reads_it(tmp_path: Path) -> None:
    with new_folder(tmp_path / "router") as folder:
        (folder / "a.txt").write_text("a")
        manifest = seal(folder, {"models": ["x"], "cascade": {"numbers": [], "task_types": []}})
    assert manifest["format_version"] == CASCADE_FORMAT
    assert read_manifest(tmp_path / "router") == manifest
