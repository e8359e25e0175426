"""Every page of the zoo runs briefly on the real data."""

import os

import pytest

from gpudl import zoo

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", zoo.names())
def test_a_page_is_written(name, tmp_path):
    if not os.environ.get("GPUDL_DATA"):
        pytest.skip("GPUDL_DATA does not name a folder with the data sets")
    record = zoo.write(name, tmp_path, quick=True)
    text = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert record["checks"], "a page claims something"
    assert "nan" not in text.lower().split()
    for part in text.split("](")[1:]:
        link = part.partition(")")[0]
        assert "://" in link or (tmp_path / link).exists(), link
    pictures = sum(file.stat().st_size for file in tmp_path.glob("*.png"))
    assert pictures < 400_000
