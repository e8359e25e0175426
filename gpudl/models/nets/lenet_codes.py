"""The targets of the 1998 LeNet-5's last hidden layer: ten digits, drawn in 7x12 pixels.

The paper uses pictures as codes so that similar digits have similar codes. These pictures are our
own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DIGITS = """
..###..  ...#...  .####..  .####..  ....##.  ######.  ..####.  #######  .#####.  .#####.
.#...#.  ..##...  ##..##.  ##..##.  ...###.  ##.....  .##....  .....##  ##...##  ##...##
##...##  .###...  ....##.  .....##  ..####.  ##.....  ##.....  .....##  ##...##  ##...##
##...##  ...##..  ....##.  .....##  .##.##.  ##.....  ##.....  ....##.  ##...##  ##...##
##...##  ...##..  ....##.  ....##.  ##..##.  #####..  ##.###.  ....##.  .##.##.  ##...##
##...##  ...##..  ...##..  ..###..  ##..##.  ....##.  ###..##  ...##..  ..###..  .##..##
##...##  ...##..  ..##...  ....##.  #######  .....##  ##...##  ...##..  .##.##.  ..#####
##...##  ...##..  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
##...##  ...##..  ##.....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
.#...#.  ...##..  ##.....  ##..##.  ....##.  ##...##  .##..##  ..##...  ##...##  ....##.
..###..  ..####.  #######  .####..  ....##.  .#####.  ..####.  .##....  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""
ROWS, COLUMNS = 12, 7


def codes(count: int = 10) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(count, 84): the digits 0 to count - 1 row by row, 1 for ink and -1 for paper.

    Raises ValueError unless count is from 1 to 10.
    """
    if not 1 <= count <= 10:
        raise ValueError(f"codes: count is {count}; it must be from 1 to 10, the digits drawn here")
    lines = [line.split() for line in DIGITS.strip().splitlines()]
    pictures = ["".join(line[digit] for line in lines) for digit in range(count)]
    ink = np.array([[mark == "#" for mark in picture] for picture in pictures])
    return np.where(ink, 1, -1).astype(np.float32)
