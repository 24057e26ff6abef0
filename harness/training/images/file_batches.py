"""Batches of images in files. torchvision opens, augments and batches them in worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from budgetnas.harness.training.images.augment import Normalisation, cut_out, draws
from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.harness.training.images.dataset import DamagedImages, FolderPart
from budgetnas.harness.training.images.order import bounds, generator_of, order_of, torch_seed
from budgetnas.spaces.task import task_of

_SMALLEST_RESIZED = 224  # pixels per side. ImageNet's images have different sizes; images of smaller tasks are not resized
_MARGIN = 256 / 224  # test images are resized to this multiple of the side, then cropped at the centre
_WORKERS = 8
_STREAM = 11  # separates these random numbers from other uses of the same seeds


class FileBatches:
    """Batches (see `batches.Batches`) of images in files. The random numbers of an image depend on (seed, epoch, image) alone."""

    def __init__(
        self,
        part: FolderPart,
        dataset: str,
        batch: int,
        augmentation: Augmentation,
        device: torch.device,
        seed: int | None,
        normalise: Normalisation,
        workers: int | None = None,
        side: int | None = None,
    ):
        self._part, self._augmentation, self._device, self._seed, self._normalise = part, augmentation, device, seed, normalise
        self._side = side or task_of(dataset).image_size
        self._bounds = bounds(len(part), batch, seed is not None)
        self._workers = min(_WORKERS, os.cpu_count() or 1) if workers is None else workers

    @property
    def steps(self) -> int:
        """The number of batches per epoch."""
        return len(self._bounds)

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self._part)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, numbered from 0."""
        images = len(self._part)
        if self._seed is None:
            order, rng = np.arange(images), None
        else:
            rng = generator_of(self._seed, number)
            order = order_of(images, rng)
        opened = _Opened(self._part, _transform(self._augmentation, self._side, rng is not None), (self._seed or 0, number))
        loader: Any = DataLoader(
            opened,  # type: ignore[arg-type] # it has a length and items, as a loader needs
            batch_sampler=[order[start:stop].tolist() for start, stop in self._bounds],
            num_workers=self._workers,
            worker_init_fn=_leave_interrupts,
            generator=torch.Generator(),  # otherwise the loader draws from the global one
            pin_memory=self._device.type == "cuda",
        )
        drawn = None if rng is None else draws(self._augmentation, images, self._side, rng, self._device)
        for (start, stop), (pixels, labels) in zip(self._bounds, loader, strict=True):
            normalised = self._normalise(pixels.to(self._device, non_blocking=True))
            if drawn is not None:
                normalised = cut_out(normalised, self._augmentation.cutout, drawn.take(start, stop))
            yield normalised, labels.to(self._device, non_blocking=True)


def _leave_interrupts(worker: int) -> None:
    """Ignore Ctrl-C in a worker, which would print a traceback. The training process handles it and ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _transform(augmentation: Augmentation, side: int, training: bool) -> v2.Compose:
    steps: list[Any] = []
    if training and augmentation.resized_crop:
        steps.append(v2.RandomResizedCrop(side, antialias=True))
    elif side >= _SMALLEST_RESIZED:
        steps += [v2.Resize(round(side * _MARGIN), antialias=True), v2.RandomCrop(side) if training else v2.CenterCrop(side)]
    elif training and augmentation.crop:
        steps.append(v2.RandomCrop(side, padding=augmentation.crop))
    if training and augmentation.flip:
        steps.append(v2.RandomHorizontalFlip())
    if training and (augmentation.jitter or augmentation.hue_jitter):
        steps.append(v2.ColorJitter(*[augmentation.jitter] * 3, augmentation.hue_jitter))
    return v2.Compose([*steps, v2.PILToTensor()])


class _Opened:
    """Images by number. Each is opened and transformed, with random numbers that depend on its number."""

    def __init__(self, part: FolderPart, transform: v2.Compose, stream: tuple[int, int]):
        self._part, self._transform, self._stream = part, transform, stream

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        path = self._part.root / self._part.files[number]
        try:
            with Image.open(path) as found:
                image = found.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise DamagedImages(f"{path} is not a complete image ({error}); get it again") from None
        # Transforms draw from torch's global generator. It is seeded for each image, so that results do not depend on the workers.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(_STREAM, *self._stream, number))
            return self._transform(image), int(self._part.labels[number])
