"""What is done to training images at random, as recipes say it; the words only, so that they are read without torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from budgetnas.harness.toml_files import TomlTable

Whole = Annotated[int, Field(ge=0, le=1000)]


class Augmentation(TomlTable):
    """`[augmentation]`: zeros of `crop` pixels around an image, cropped back at random; `flip`, left to right, one image in two.

    `cutout` clears a square of so many pixels a side around a random pixel (DeVries and Taylor 2017). For images in files only:
    `resized_crop` takes a random part of 8 to 100 % of the area, resized to the task's side (Szegedy et al. 2015); `jitter` changes
    brightness, contrast and saturation by up to so much, and `hue_jitter` the hue. Files of a task with 224 pixels a side are resized
    first and cropped at random, whatever `crop` says.
    """

    crop: Whole = 0
    flip: bool = False
    cutout: Whole = 0
    resized_crop: bool = False
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    hue_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
