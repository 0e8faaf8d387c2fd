"""Python itself: pairs of words counted by a loop."""

import time
from collections import Counter

import numpy as np

from ..case import Answer, Method


class Interpreter(Method):
    def version(self):
        import platform

        return platform.python_version()


def counter(data, _):
    """Each pair once, (word, later word); the sums that are checked are not timed."""
    words, window = data["words"], data["window"]
    begin = time.perf_counter()
    pairs = Counter()
    for i, word in enumerate(words):
        for later in words[i + 1 : i + 1 + window]:
            pairs[word, later] += 1
    seconds = time.perf_counter() - begin
    sums = np.zeros(data["n_words"])
    for pair, count in pairs.items():
        for word in pair:
            sums[int(word[1:])] += count
    return Answer(sums, {"seconds": seconds})


def counts(data):
    return data["step"] == "count"


METHODS = [Interpreter("Counter loop", "python", "cooccurrence", counter, suits=counts)]
