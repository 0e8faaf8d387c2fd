"""A linear probe: how well singular functions predict a column of the data, by scikit-learn's ridge regression."""

from __future__ import annotations

import warnings

import numpy as np

FOLDS = 5
#: penalties tried, on functions of variance 1; the best one by leave-one-out within the training folds
_PENALTIES = np.logspace(-3, 3, 7)
#: so many distinct numbers, or fewer, are classes
_MOST_CLASSES = 20


def has_classes(y: np.ndarray) -> bool:
    """Whether a column is one of classes: words, flags, or few distinct numbers that repeat."""
    distinct = len(np.unique(y))
    return y.dtype.kind not in "iuf" or distinct <= min(_MOST_CLASSES, len(y) // 2)


def measure(y: np.ndarray) -> str:
    """What `linear_probe` returns for this column: "error rate" (lower is better) or "R^2" (higher is better)."""
    return "error rate" if has_classes(y) else "R^2"


def check_probe(option: str, y: np.ndarray) -> None:
    """Before any long work: whether scikit-learn is there and the column can be predicted at all."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{option} needs scikit-learn: pip install 'eigencontext[demo]'") from error
    values, counts = np.unique(y, return_counts=True)
    if len(values) < 2:
        raise ValueError(f"{option}: got a column with one value ({values[0]!r}); allowed: at least two")
    if len(y) < 2 * FOLDS or (has_classes(y) and counts.max() < FOLDS):
        raise ValueError(
            f"{option}: got {len(y)} rows, the most frequent value in {counts.max()}; allowed: at least {2 * FOLDS} "
            f"rows, and a class with {FOLDS}"
        )


def linear_probe(functions: np.ndarray, y: np.ndarray) -> float:
    """The `measure` of ridge regression from functions (n x d) to y, each row predicted from the other folds."""
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

    if has_classes(y):
        classes = np.unique(y, return_inverse=True)[1]
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class with fewer rows than folds
            predicted = cross_val_predict(RidgeClassifierCV(_PENALTIES), functions, classes, cv=folds)
        return float(np.mean(predicted != classes))
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    return float(r2_score(y, cross_val_predict(RidgeCV(_PENALTIES), functions, y, cv=folds)))
