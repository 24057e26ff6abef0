"""What is done to training images at random, as recipes say it; the words only, so that they are read without torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Whole = Annotated[int, Field(ge=0, le=1000)]


class RecipePart(BaseModel):
    """A table of a recipe: every key is known, of the exact type, and never changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def hashed_values(self) -> dict[str, Any]:
        """Return the values that identities include, as JSON has them: all but keys of later versions that have their default.

        A key that a later version adds is marked by `Field(json_schema_extra={"since": "0.3"})`.
        """
        values = self.model_dump(mode="json")
        for name, info in type(self).model_fields.items():
            value, extra = getattr(self, name), info.json_schema_extra
            if isinstance(extra, dict) and "since" in extra and value == info.get_default(call_default_factory=True):
                del values[name]
            elif isinstance(value, RecipePart):
                values[name] = value.hashed_values()
            elif isinstance(value, dict):
                values[name] |= {key: each.hashed_values() for key, each in value.items() if isinstance(each, RecipePart)}
        return values


class Augmentation(RecipePart):
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
