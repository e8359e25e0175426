"""Where files are searched for, and the errors if they are not found."""

import gzip
import hashlib
import http.server
import sys
import threading
import types

import pytest

from gpudl.data import DataError, load
from gpudl.data.sources import Layout, Remote, Source
from tests.data.small_files import idx_bytes, mnist_files

CONTENT = gzip.compress(b"content", mtime=0)


def first_pixel(split) -> int:
    return int(split.train.images[0, 0, 0, 0])


def test_order_of_the_folders(tmp_path, monkeypatch, no_data_folders):
    """data_dir comes before GPUDL_DATA, which comes before the cache."""
    requested, named, cache = tmp_path / "requested", tmp_path / "named", no_data_folders
    for seed, root in enumerate((requested, named, cache)):
        mnist_files(root / "mnist", seed)
    pixels = [first_pixel(load("mnist", data_dir=root)) for root in (requested, named, cache)]
    assert len(set(pixels)) == 3
    assert first_pixel(load("mnist")) == pixels[2]
    monkeypatch.setenv("GPUDL_DATA", str(named))
    assert first_pixel(load("mnist")) == pixels[1]
    assert first_pixel(load("mnist", data_dir=requested)) == pixels[0]


def test_falls_through_to_the_next_folder(tmp_path, monkeypatch):
    mnist_files(tmp_path / "named/mnist")
    (tmp_path / "requested").mkdir()
    monkeypatch.setenv("GPUDL_DATA", str(tmp_path / "named"))
    assert len(load("mnist", data_dir=tmp_path / "requested").train) == 20


def test_refuses_an_incomplete_set_and_names_the_missing_file(tmp_path):
    mnist_files(tmp_path / "mnist")
    (tmp_path / "mnist/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"mnist: has only part of mnist; add t10k-labels-idx1"):
        load("mnist", data_dir=tmp_path)


def test_refuses_a_missing_folder(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="absent: does not exist, but data_dir names it"):
        load("mnist", data_dir=tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DataError, match="file: is not a folder"):
        load("mnist", data_dir=tmp_path / "file")
    monkeypatch.setenv("GPUDL_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="but the environment variable GPUDL_DATA names it"):
        load("mnist")


def test_download_switched_off(tmp_path):
    with pytest.raises(DataError, match=r"downloading is switched off; .*--data-dir .*fetch"):
        load("mnist", data_dir=tmp_path, download=False)


def test_without_pooch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        DataError, match=r"needs pooch \(pip install 'gpudl\[train\]'\); use digits"
    ):
        load("cifar-10", data_dir=tmp_path)


def fake_pooch(retrieve):
    logger = types.SimpleNamespace(setLevel=lambda level: None)
    return types.SimpleNamespace(retrieve=retrieve, get_logger=lambda: logger)


def test_offline(tmp_path, monkeypatch):
    def retrieve(url, known_hash, **options):
        raise ConnectionError("Name or service not known\nmore")

    monkeypatch.setitem(sys.modules, "pooch", fake_pooch(retrieve))
    with pytest.raises(
        DataError, match=r"downloading it failed \(no connection to the server\)"
    ) as e:
        load("usps", data_dir=tmp_path)
    sentence, *addresses = str(e.value).split("\n")
    assert "use digits, which needs no download" in sentence
    assert [line.split("/")[-1] for line in addresses] == ["zip.train.gz", "zip.test.gz"]


@pytest.mark.parametrize("given", [True, False])
def test_downloads_into_data_dir_else_the_cache(tmp_path, monkeypatch, no_data_folders, given):
    fetched = {}

    def retrieve(url, known_hash, fname, path, progressbar):
        fetched[fname] = known_hash
        mnist_files(path)

    monkeypatch.setitem(sys.modules, "pooch", fake_pooch(retrieve))
    (tmp_path / "requested").mkdir()
    split = load("mnist", data_dir=tmp_path / "requested" if given else None)
    assert len(split.train) == 20
    assert fetched["train-images-idx3-ubyte.gz"] == "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"
    assert ((tmp_path / "requested" if given else no_data_folders) / "mnist").is_dir()
    fetched.clear()
    load("mnist", data_dir=tmp_path / "requested" if given else None)
    assert not fetched


@pytest.fixture
def server(tmp_path):
    """The address of a server for the folder tmp_path/served."""
    (tmp_path / "served").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "served"))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


def source(address: str, checksum: str) -> Source:
    return Source(
        "tiny", ("tiny",), (Layout("gz", (("a.gz",),)),), (Remote(f"{address}/a.gz", checksum),)
    )


def test_a_real_download(tmp_path, server):
    (tmp_path / "served/a.gz").write_bytes(CONTENT)
    digest = hashlib.md5(CONTENT).hexdigest()
    files = source(server, f"md5:{digest}").find(tmp_path)
    assert files.paths == [tmp_path / "tiny/a.gz"]
    assert files.paths[0].read_bytes() == CONTENT


def test_a_download_with_another_checksum_is_refused_and_not_kept(tmp_path, server):
    (tmp_path / "served/a.gz").write_bytes(CONTENT)
    with pytest.raises(DataError, match=r"failed \(ValueError: .*hash"):
        source(server, "md5:" + 32 * "0").find(tmp_path)
    assert not (tmp_path / "tiny/a.gz").exists()


def test_a_download_that_does_not_exist(tmp_path, server):
    with pytest.raises(DataError, match="404"):
        source(server, "md5:" + 32 * "0").find(tmp_path)


def test_idx_bytes_follow_the_format():
    import numpy as np

    assert idx_bytes(np.zeros(2, np.uint8)) == b"\0\0\x08\x01\0\0\0\2\0\0"
