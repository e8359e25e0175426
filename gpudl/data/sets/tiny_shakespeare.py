"""Tiny Shakespeare: 1,115,394 characters of plays, for character-level language models."""

from __future__ import annotations

from hashlib import sha256

from gpudl.data.errors import damaged
from gpudl.data.registry import Info, Request, register
from gpudl.data.sources import Layout, Remote, Source
from gpudl.data.split import Split
from gpudl.data.text import WINDOW, parts_of

SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
CHARACTERS = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SOURCE = Source(
    "tiny-shakespeare",
    ("tiny-shakespeare", "tinyshakespeare", "tiny_shakespeare"),
    (Layout("text", (("input.txt",),)),),
    (
        Remote(
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt",
            f"sha256:{SHA256}",
        ),
    ),
)


@register(
    "tiny-shakespeare",
    title="Tiny Shakespeare, plays as one text",
    shape=(WINDOW,),
    classes=tuple(CHARACTERS),
    origin="A. Karpathy, char-rnn, 2015; W. Shakespeare, public domain",
    source=SOURCE,
)
def read_tiny_shakespeare(info: Info, request: Request) -> Split:
    """The first 1,003,854 characters for training, the last 111,540 for testing."""
    (path,) = SOURCE.find(request.data_dir, request.download).paths
    content = path.read_bytes()
    if sha256(content).hexdigest() != SHA256:
        raise damaged(
            path, "is not Tiny Shakespeare", "to use your own text, pass its path as the data set"
        )
    return parts_of(path, content.decode("ascii"))
