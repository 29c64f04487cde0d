"""Pickles as data: a stack machine that imports nothing and calls nothing that a file names.

`pickletools.genops` of the standard library decodes the opcodes (its source describes each; protocols 0 to 5: PEP 307,
3154, 574). `opcodes.py` turns each into an action on a stack of plain values; `names.py` lists what a file may name.
"""

import io
import mmap
import pickletools

from models.convert.opcodes import HANDLERS
from models.convert.tree import DAMAGED

STEPS = 5_000_000  # the most opcodes in a file; an EDM network has some fifty thousand
BITS = 128  # the most bits of an integer; PyTorch's magic number has 77


class Budget:
    """The limits for reading one file, with the pickles inside it: a number of steps, and of bytes that are copied."""

    def __init__(self, size: int):
        self.left = {"steps": STEPS, "bytes copied": STEPS + size}

    def spend(self, amount: int, what: str = "steps") -> None:
        """Takes `amount` from the budget; ValueError if it is spent."""
        self.left[what] -= amount
        if self.left[what] < 0:
            raise ValueError(f"reading it takes too many {what}: it was made to exhaust the machine, do not trust it")


class Machine:
    """One pickle of a stream, run.

    stream: has read, readline and tell, and is left behind the pickle. persistent(id): what a persistent id stands for,
    None to refuse them. nested(bytes): what a PyTorch file in the bytes of this pickle holds, None to refuse them.
    """

    def __init__(self, stream, budget: Budget, persistent=None, nested=None):
        self.stream, self.budget, self.persistent, self.nested = stream, budget, persistent, nested
        self.stack, self.marks, self.memo = [], [], {}

    def run(self):
        """The value, not yet checked (tree.check). ValueError if the pickle is damaged or asks for more than data."""
        for opcode, arg, position in self._opcodes():
            self.budget.spend(1)
            if isinstance(arg, int) and arg.bit_length() > BITS:
                raise ValueError(f"an integer has {arg.bit_length()} bits, at most {BITS} are readable: {DAMAGED}")
            try:
                HANDLERS[opcode.name](self, arg)
            except (LookupError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{opcode.name} at byte {position} does not fit what is before it: {DAMAGED}"
                ) from error
        if len(self.stack) != 1:
            raise ValueError(f"the pickle ends with {len(self.stack)} values where one belongs: {DAMAGED}")
        return self.stack[0]

    def _opcodes(self):
        try:
            yield from pickletools.genops(self.stream)
        except ValueError as error:
            raise ValueError(
                f"the pickle breaks off or is damaged ({str(error)[:100]}): fetch the file again"
            ) from error

    def pop_mark(self) -> list:
        """All that was pushed since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def stream_of(data):
    """A stream for `Machine`: a mapped file itself, which never reads beyond its end; bytes without a copy of them."""
    return data if isinstance(data, mmap.mmap) else io.BytesIO(data)
