"""Reads NAS-Bench-201's original results: NATS-Bench's topology archive (one file per cell) and `NAS-Bench-201-*.pth` (a single file).

Both store, for every cell, an `ArchResults` for each set of hyper-parameters (12 and 200 epochs), which has a `ResultsCount` for each
training set and seed, written as plain dictionaries. This module reads the figures after the last epoch: the accuracy [%] of each seed, the
mean accuracy over the trained seeds, and the mean training time [s] over the same seeds. NaN means 'not trained'.

Upstream has two training sets for CIFAR-10. `cifar10-valid` (25,000 images) gives the validation accuracy, and `cifar10` (all 50,000
images) gives the test accuracy. The training time is taken from `cifar10`. A search that needs one validation accuracy would spend half of
it, since upstream measures an epoch of `cifar10-valid` and scales the time by the number of images. The time for 50,000 images is used
because it is the one in the published table of times that `budgetnas data fetch` reads (there the time of ImageNet16-120 is exactly
151,700 / 50,000 of it), and because it equals the time of CIFAR-100. So a budget in seconds has the same meaning for fetched and imported
tables.
"""

from __future__ import annotations

import bz2
import math
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from budgetnas.spaces.nasbench201.order import SIZE
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.space import InvalidArchitecture
from budgetnas.spaces.tables.accuracy import Split, accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.tables.upstream.unpickle import PickleRefused, load, loads, shown

Progress = Callable[[int, int], None]
# From the upstream name of a set of hyper-parameters to its number of epochs.
_EPOCHS = {"12": 12, "200": 200, "less": 12, "full": 200}
# For each upstream training set: (upstream evaluation set, dataset, split).
_ACCURACIES: Mapping[str, tuple[tuple[str, str, Split], ...]] = {
    "cifar10-valid": (("x-valid", "cifar10", "validation"),),
    "cifar10": (("ori-test", "cifar10", "test"),),
    "cifar100": (("x-valid", "cifar100", "validation"), ("x-test", "cifar100", "test")),
    "ImageNet16-120": (("x-valid", "ImageNet16-120", "validation"), ("x-test", "ImageNet16-120", "test")),
}
_TIMED = ("cifar10", "cifar100", "ImageNet16-120")
_FILE = re.compile(r"(?:\./)?(?:[^/]+/)?(meta|\d{1,6})\.pickle\.pbz2")
# The file of a cell has about a megabyte after decompression; a file of more than this is not a cell.
_MOST_BYTES_A_FILE = 64 << 20
_MOST_SECONDS = 1e9
_SPACE = NASBench201()


def check_cell(index: int, text: object, where: str) -> None:
    """Raise TableError unless `text` is the published string of the cell with this index."""
    try:
        found = _SPACE.index(_SPACE.decode(text)) if isinstance(text, str) else None
    except InvalidArchitecture as error:
        raise TableError(f"{where}: {error}") from None
    if found != index:
        raise TableError(f"{where} is {shown(text)}, nasbench201's cell {found}; expected cell {index}: the file has another order")


def check_order(texts: object, where: str) -> None:
    """Raise TableError unless `texts` are the strings of all cells in the published order."""
    if not isinstance(texts, list) or len(texts) != SIZE:
        raise TableError(f"{where} is not a list of {SIZE} cells; the file is cut off or has another layout")
    for index, text in enumerate(texts):
        check_cell(index, text, f"{where}[{index}]")


class CellFigures:
    """Collects the figures of cells, one cell at a time, into columns of a table."""

    def __init__(self) -> None:
        self._columns: dict[str, Column] = {}
        self._cells: set[int] = set()

    def add(self, index: int, cell: object, where: str) -> None:
        """Add one cell, given as `{hyper-parameters: ArchResults.state_dict()}`.

        Raises:
            TableError: The content is another cell, was added before, or has another layout.
        """
        if index in self._cells:
            raise TableError(f"{where} occurs twice; get the file again")
        self._cells.add(index)
        for name, state in _mapping(cell, where).items():
            if name not in _EPOCHS:
                raise TableError(
                    f"{where} has hyper-parameters {shown(name)}; known are {', '.join(_EPOCHS)}: it is not a cell of NAS-Bench-201"
                )
            self._add_results(index, _EPOCHS[name], _mapping(state, where), f"{where}, {_EPOCHS[name]} epochs")

    def _add_results(self, index: int, epochs: int, state: Mapping[Any, Any], where: str) -> None:
        check_cell(index, state.get("arch_str"), where)
        results, seeds = _mapping(state.get("all_results"), where), _mapping(state.get("dataset_seed"), where)
        for training_set, wanted in _ACCURACIES.items():
            runs = {seed: _mapping(results.get((training_set, seed)), where) for seed in _seeds(seeds.get(training_set, []), where)}
            for run in runs.values():
                if run.get("epochs") != epochs:
                    raise TableError(f"{where}: a run on {training_set} has {shown(run.get('epochs'))} epochs; expected {epochs}")
            for evaluation, dataset, split in wanted:
                found = {seed: _final_accuracy(run, evaluation, epochs, where) for seed, run in runs.items()}
                for seed, accuracy in found.items():
                    self._set(accuracy_column(dataset, split, epochs, seed), index, accuracy)
                self._set(accuracy_column(dataset, split, epochs), index, _mean(found.values()))
            if training_set in _TIMED:
                self._set(seconds_column(training_set, epochs), index, _mean(_seconds(run, epochs, where) for run in runs.values()))

    def _set(self, name: str, index: int, value: float) -> None:
        if not math.isnan(value):
            if name not in self._columns:
                self._columns[name] = np.full(SIZE, np.nan)
            self._columns[name][index] = value

    def table(self, path: Path) -> Table:
        """Return the table of all added cells; the others are NaN. Raises TableError if there are no results."""
        if not self._columns:
            raise TableError(f"{path} has no results of any nasbench201 cell; nothing was imported")
        part = "" if len(self._cells) == SIZE else f" ({len(self._cells)} of {SIZE} cells)"
        return Table.from_columns(NASBench201.name, self._columns, dict.fromkeys(self._columns, path.name + part))


def read_folder(path: Path, progress: Progress) -> Table:
    """Return the table of an unpacked archive: `meta.pickle.pbz2` and `NNNNNN.pickle.pbz2`, with one cell in memory at a time.

    Raises:
        TableError: A file is damaged or has another layout; the message names it.
    """
    try:
        files = {match[1]: file for file in sorted(path.iterdir()) if (match := _FILE.fullmatch(file.name)) and file.is_file()}
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from None
    figures, done, count = CellFigures(), 0, len(files) - ("meta" in files)
    for name in files:
        try:
            with files[name].open("rb") as stream:
                _add_file(figures, name, stream, str(files[name]))
        except OSError as error:
            raise TableError(f"cannot read {files[name]}: {error.strerror}") from None
        done += name != "meta"
        progress(done, count)
    return figures.table(path)


def read_tar(path: Path, progress: Progress) -> Table:
    """Return the table of an archive in its tar file, which is read as a stream; nothing is unpacked to disk.

    Raises:
        TableError: A member is damaged, or is not a folder or file of the archive (a link, a device, another name); the message names it.
    """
    figures, done = CellFigures(), 0
    try:
        with tarfile.open(path, "r|*") as archive:
            for name, stream, where in _members(archive, path):
                _add_file(figures, name, stream, where)
                done += name != "meta"
                progress(done, SIZE)
    except (tarfile.TarError, EOFError) as error:
        raise TableError(f"{path} is cut off or damaged ({error}); get the file again") from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from None
    return figures.table(path)


def _members(archive: tarfile.TarFile, path: Path) -> Iterator[tuple[str, IO[bytes], str]]:
    """Yield the name, the content and a description for error messages of every file in the archive."""
    for member in archive:
        if member.isdir():
            continue
        match = _FILE.fullmatch(member.name)
        stream = archive.extractfile(member) if member.isreg() else None
        if match is None or stream is None:
            raise PickleRefused(
                f"{path} has the unexpected member {ascii(member.name)[:120]}; a NATS-Bench archive has NNNNNN.pickle.pbz2 in one folder"
            )
        yield match[1], stream, f"{path}, {member.name}"


def _add_file(figures: CellFigures, name: str, stream: IO[bytes], where: str) -> None:
    try:
        data = bz2.BZ2File(stream).read(_MOST_BYTES_A_FILE + 1)
    except (OSError, EOFError) as error:
        raise TableError(f"{where} is cut off or damaged ({error}); get the archive again") from None
    if len(data) > _MOST_BYTES_A_FILE:
        raise TableError(f"{where} has more than {_MOST_BYTES_A_FILE >> 20} MiB after decompression, far more than a cell; it was not read")
    try:
        content = loads(data, where)
    except PickleRefused as refusal:
        raise PickleRefused(f"{refusal}; import NATS-Bench's archive named -simple, which has no weights") from None
    if name == "meta":
        check_order(_mapping(content, where).get("meta_archs"), f"{where}, meta_archs")
    else:
        figures.add(int(name), content, where)


def read_single(path: Path) -> Any:
    """Return the content of `NATS-tss-*.pickle.pbz2`, all of it in memory, for `read_archive`. Raises TableError if it is damaged."""
    try:
        with bz2.open(path) as stream:
            return load(stream, str(path))
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from None


def read_archive(content: dict[str, Any], path: Path, progress: Progress) -> Table:
    """Return the table of all cells in `{'meta_archs', 'arch2infos': {index: {hyper-parameters: ArchResults.state_dict()}}}`.

    Cells are removed from `content` after they are read, since all of them take about 28 GB.

    Raises:
        TableError: The content has another layout; the message names the part.
    """
    figures = CellFigures()
    check_order(content.get("meta_archs"), f"{path}, meta_archs")
    cells = content.get("arch2infos")
    if not isinstance(cells, dict):
        raise TableError(f"{path} has no cells under 'arch2infos'; it is not an archive of results")
    count = len(cells)
    for done, index in enumerate(list(cells)):
        if type(index) is not int or not 0 <= index < SIZE:
            raise TableError(f"{path} has a cell {shown(index)}; nasbench201 has the cells 0 to {SIZE - 1}")
        figures.add(index, cells.pop(index), f"{path}, cell {index}")
        progress(done + 1, count)
    return figures.table(path)


def _final_accuracy(run: Mapping[Any, Any], evaluation: str, epochs: int, where: str) -> float:
    """Return the accuracy [%] after the last epoch; NaN if the run was not evaluated on this set."""
    key = f"{evaluation}@{epochs - 1}"
    value = _mapping(run.get("eval_acc1es"), where).get(key)
    return math.nan if value is None else _number(value, 0.0, 100.0, f"{where}: accuracy {key}")


def _seconds(run: Mapping[Any, Any], epochs: int, where: str) -> float:
    """Return the seconds of all epochs; NaN if the run has no times."""
    times = run.get("train_times")
    if times is None:
        return math.nan
    if len(_mapping(times, where)) != epochs:
        raise TableError(f"{where}: a run has the times of {len(times)} epochs; expected {epochs}")
    return math.fsum(_number(time, 0.0, _MOST_SECONDS, f"{where}: seconds of an epoch") for time in times.values())


def _mean(values: Any) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _number(value: object, least: float, most: float, what: str) -> float:
    if not isinstance(value, int | float | np.integer | np.floating) or not least <= value <= most:
        raise TableError(f"{what} is {shown(value)}; expected a number from {least:g} to {most:g}")
    return float(value)


def _seeds(values: object, where: str) -> list[int]:
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        raise TableError(f"{where}: the seeds are a {type(values).__name__}; expected a list of numbers: the file has another layout")
    return values


def _mapping(value: object, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TableError(f"{where} has a {type(value).__name__}; expected a dictionary of results by name: the file has another layout")
    return value
