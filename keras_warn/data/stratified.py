"""Stratified splits, of groups too, that are the same on every machine."""

import hashlib
import unicodedata

import numpy as np


def folds(dataset, number) -> dict:
    """Splits the examples in folds that have the same share of every class.

    As `hold_out`: `groups` stay together, and names of files decide.

    Args:
        dataset: An `ImageDataset`.
        number: Positive integer, how many folds.

    Returns:
        Dictionary from "fold_0", ... to int64 indices.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.names))
    wanted = counts / number
    taken = np.zeros((number, len(counts)), "int64")
    parts = [[] for _ in range(number)]
    for members in _drawn(dataset, 0):
        classes, more = np.unique(dataset.labels[members], return_counts=True)
        # The fold that lacks these classes most; of such, the smallest.
        excess = (taken - wanted)[:, classes] @ more
        fold = min(range(number), key=lambda i: (excess[i], len(parts[i])))
        parts[fold] += members
        taken[fold, classes] += more
    return {
        f"fold_{i}": np.sort(np.array(part, "int64"))
        for i, part in enumerate(parts)
    }


def held_out(dataset, share, seed) -> np.ndarray:
    """Which examples to hold out: bool `(b,)`."""
    labels = dataset.labels
    counts = np.bincount(labels, minlength=len(dataset.names))
    wanted = _quotas(counts, share, seed)
    held = np.zeros(len(dataset), bool)
    taken = np.zeros(len(counts), "int64")
    for members in _drawn(dataset, seed):
        classes, more = np.unique(labels[members], return_counts=True)
        missing, after = wanted[classes] - taken[classes], taken[classes] + more
        nearer = np.sum((missing - more) ** 2) < np.sum(missing**2)
        if nearer and (after < counts[classes]).all():
            held[members] = True
            taken[classes] = after
    return held


def _drawn(dataset, seed):
    """What stays together, lists of indices, in an order that is drawn."""
    # Of the names alone: folders differ between machines.
    keys = [
        unicodedata.normalize("NFC", f"{dataset.names[label]}/{path.name}")
        for path, label in zip(dataset.paths, dataset.labels, strict=True)
    ]
    groups = {}
    for i in range(len(dataset)):
        group = i if dataset.groups is None else dataset.groups[i]
        groups.setdefault(group, []).append(i)
    return sorted(
        groups.values(),
        key=lambda members: _draw(seed, min(keys[i] for i in members)),
    )


def _quotas(counts, share, seed):
    """Each class's share, rounded so that they sum to the share of them all."""
    wanted = np.floor(counts * share).astype("int64")
    missing = round(share * int(counts.sum())) - int(wanted.sum())
    parts = counts * share - wanted
    order = sorted(
        np.flatnonzero(counts > 1),
        key=lambda i: (-parts[i], _draw(seed, str(i))),
    )
    wanted[order[:missing]] += 1
    return wanted


def _draw(seed, key):
    """A number drawn for a key. NumPy's may change with its version."""
    return hashlib.sha256(f"{seed}/{key}".encode(errors="replace")).digest()
