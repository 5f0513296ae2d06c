"""What a trace says of modules: what each ran, and what alone reads what it made."""

from __future__ import annotations

from hwprofile.record import OpCall, Record


class Flow:
    """The calls of a record by module, and the readers of every tensor.

    It holds for the shapes and the branches of the forward pass that was traced.
    """

    def __init__(self, record: Record) -> None:
        self.calls = record.calls
        self._at: dict[str, list[OpCall]] = {}
        self._readers: dict[int, list[OpCall]] = {}
        self._outputs = frozenset(record.outputs)
        for call in record.calls:
            self._at.setdefault(call.path, []).append(call)
            for tensor in set(call.inputs):
                self._readers.setdefault(tensor, []).append(call)

    def at(self, path: str) -> list[OpCall]:
        """Calls of the module at `path` itself, not of those within it, in order."""
        return self._at.get(path, [])

    def runs(self, path: str) -> bool:
        """Whether the module at `path`, or one within it, ran anything."""
        inside = f"{path}." if path else ""
        return any(known == path or known.startswith(inside) for known in self._at)

    def leaving(self, path: str) -> int:
        """How many tensors that the module at `path` itself makes are read elsewhere."""
        made = {tensor for call in self.at(path) for tensor in call.outputs}
        return sum(
            tensor in self._outputs
            or any(call.path != path for call in self._readers.get(tensor, []))
            for tensor in made
        )

    def next(self, path: str) -> OpCall | None:
        """The one call that reads what the module at `path` made; None if it is not the only one.

        The module must have run once. Views and writes in place count as readers.
        """
        last = self.at(path)[-1]
        if len(last.outputs) != 1 or last.outputs[0] in self._outputs:
            return None
        readers = self._readers.get(last.outputs[0], [])
        return readers[0] if len(readers) == 1 else None
