"""The settings of random augmentation in recipes. They are separate from the code in `augment.py`, which needs torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from budgetnas.harness.toml_files import TomlTable

Whole = Annotated[int, Field(ge=0, le=1000)]


class Augmentation(TomlTable):
    """`[augmentation]`: random changes of training images.

    Attributes:
        crop: pixels of zeros that are added on each side before a random crop to the original size.
        flip: mirrors one image in two from left to right.
        cutout: side of a square of zeros around a random pixel (DeVries and Taylor 2017).
        resized_crop: takes a random part of 8 to 100 % of the area and resizes it to the task's side (Szegedy et al. 2015).
            For images in files only. Without it, files of a task with 224 pixels per side are resized and cropped at random,
            for any `crop`.
        jitter: largest relative change of brightness, contrast and saturation. For images in files only.
        hue_jitter: largest change of the hue. For images in files only.
    """

    crop: Whole = 0
    flip: bool = False
    cutout: Whole = 0
    resized_crop: bool = False
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    hue_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
