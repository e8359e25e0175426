"""Pages of the zoo: the files they write and the errors they raise."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpudl import optim, zoo
from gpudl.cli import main
from gpudl.models import mlp
from gpudl.train import TrainingError
from gpudl.zoo.page import PAGES
from gpudl.zoo.page import page as zoo_page


@pytest.fixture
def write(tmp_path):
    """Runs a function as a page; returns its text and its record."""
    zoo.names()  # registers the real pages, which are then set aside
    real = dict(PAGES)
    PAGES.clear()

    def run(function, needs=("matplotlib",), out=tmp_path, **options):
        zoo_page("A title", minutes=1, needs=needs)(function)
        name = zoo.find(function).name
        record = zoo.write(name, out, **options)
        assert json.loads((tmp_path / f"{name}.json").read_text()) == json.loads(json.dumps(record))
        return (tmp_path / f"{name}.md").read_text(), record

    yield run
    PAGES.clear()
    PAGES.update(real)


def test_a_page_has_its_parts_in_order(write, tmp_path):
    def two_words(page):
        """The first paragraph."""
        page.text("A thought.")
        page.table(("net", "size", "share"), [("a", 1234, 0.123456)], caption="Sizes")
        page.image("dots", np.eye(4), "Dots")
        with page.axes("curve", "A curve") as axes:
            axes.plot([1, 2])
        page.beside("test error", "0.95 %", "0.94 %", "LeCun et al. 1998")
        page.check("it works", True, "2 of 2")

    text, record = write(two_words, seed=3)
    order = ["# A title", "The first paragraph.", "A thought.", "*Sizes*", "| a | 1,234 | 0.1235 |",
             "![Dots](two-words-dots.png)", "![A curve](two-words-curve.png)",
             "| test error | 0.95 % | 0.94 % | LeCun et al. 1998 |",
             "| yes | it works | 2 of 2 |", "gpudl zoo two-words --seed 3"]  # fmt: skip
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert np.array(Image.open(tmp_path / "two-words-dots.png")).tolist() == (
        (255 * np.eye(4)).astype(np.uint8).tolist()
    )
    assert record["checks"] == [{"claim": "it works", "holds": True, "measured": "2 of 2"}]


@pytest.mark.parametrize(
    "part",
    [
        lambda page: page.table(("a",), [(float("nan"),)]),
        lambda page: page.image("a", np.full((2, 2), np.inf), "A"),
    ],
)
def test_values_that_are_not_finite_are_refused(write, part):
    def broken(page):
        part(page)

    with pytest.raises(TrainingError, match="zoo broken"):
        write(broken)


def test_images_side_by_side(write):
    def tiles(page):
        drawn = page.grid(np.arange(12).reshape(3, 2, 2), columns=2, scale=3)
        assert drawn.shape == (2 * 6 + 2, 2 * 6 + 2)
        np.testing.assert_allclose(drawn[:6:3, :6:3], [[0, 1 / 3], [2 / 3, 1]], rtol=1e-6)
        np.testing.assert_array_equal(drawn[8:, 8:], 1)  # no fourth tile

    write(tiles)


def test_training_on_a_page_learns_and_repeats(write):
    seen = []

    def digits(page):
        x, y, x_test, y_test = page.load("digits", train=400, test=100)
        assert (len(x), len(x_test)) == (400, 100)
        assert x.dtype == np.float32
        assert 0 <= x.min() < x.max() <= 1
        net = mlp(image_size=x.shape[-1], hidden=(32,))
        optimizer = optim.Adam(net.parameters(), lr=0.01)
        rows = page.fit(net, (x, y), (x_test, y_test), epochs=5, optimizer=optimizer)
        seen.append(rows[-1].test_accuracy)

    first, record = write(digits)
    again, _ = write(digits)
    assert record["data"] == {"digits": (400, 100)}
    assert first.rpartition("---")[0] == again.rpartition("---")[0]
    assert seen[0] == seen[1] > 0.8


def test_the_index_says_what_was_measured_and_what_is_missing(write, tmp_path):
    def claim(page):
        page.check("the sky is blue", False, "grey")
        page.beside("wavelength in nm", 450, 470, "a book")

    write(claim)
    zoo.write_index(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "[A title](claim.md) | the sky is blue | **does not hold**: grey |" in text
    assert "[A title](claim.md) | wavelength in nm | 450 | 470 | a book |" in text
    (tmp_path / "claim.json").unlink()
    zoo.write_index(tmp_path)
    assert "Not run here yet: claim." in (tmp_path / "README.md").read_text()


def test_a_quick_run_judges_no_claim(write, tmp_path, capsys):
    def claim(page):
        page.check("it learns", False, "nothing")

    text, record = write(claim, quick=True)
    assert "| not judged | it learns | nothing |" in text
    assert not record["checks"][0]["holds"]
    capsys.readouterr()
    assert main(["zoo", "claim", "--quick", "--out", str(tmp_path)]) == 0
    assert "  not judged: it learns, nothing" in capsys.readouterr().out.splitlines()
    assert main(["zoo", "claim", "--out", str(tmp_path)]) == 1
    assert "  FAILS: it learns, nothing" in capsys.readouterr().out.splitlines()


def test_a_page_that_fails_leaves_no_empty_folder(write, tmp_path):
    def broken(page):
        raise TrainingError("no data")

    with pytest.raises(TrainingError, match="no data"):
        write(broken, out=tmp_path / "runs" / "zoo")
    assert not (tmp_path / "runs").exists()


def test_a_page_says_at_once_which_package_it_needs(write, tmp_path):
    def clusters(page):
        raise AssertionError("must not start")

    with pytest.raises(TrainingError, match=r"nosuchpackage.*pip install 'gpudl\[zoo\]'"):
        write(clusters, needs=("nosuchpackage",), out=tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_an_unknown_page_suggests_the_nearest(write):
    def lenet5(page):
        pass

    write(lenet5)
    with pytest.raises(TrainingError, match="did you mean lenet5"):
        zoo.info("lenet")


def test_every_recipe_is_in_the_guide():
    root = Path(__file__).resolve().parents[2]
    guide = (root / "docs/zoo.md").read_text(encoding="utf-8")
    recipes = [file.stem for file in (root / "gpudl/models/recipes").glob("*.json")]
    assert recipes
    assert [name for name in recipes if f"`{name}`" not in guide] == []


def test_every_page_is_in_the_guide_with_its_budget():
    guide = (Path(__file__).resolve().parents[2] / "docs/zoo.md").read_text(encoding="utf-8")
    for name in zoo.names():
        assert f"| [{name}](zoo/{name}.md) | {zoo.info(name).minutes:g} |" in guide, name
