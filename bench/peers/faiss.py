"""faiss: exact search with IndexFlatL2 (its own OpenMP threads, hence a process of its own)."""

from ..case import Answer, Method


def neighbors(data, _):
    import faiss

    index = faiss.IndexFlatL2(data["X"].shape[1])
    index.add(data["X"])
    return Answer(index.search(data["X"], data["k"])[1])


METHODS = [Method("faiss IndexFlatL2", "faiss-cpu", "neighbors", neighbors, isolated=True)]
