# SPDX-License-Identifier: Apache-2.0
"""Parses a pickle into records of its instructions without executing them.

A pickle is a program that can call any function. This interpreter supports only the instructions that torch.save
writes. It imports nothing and calls nothing. It also builds no dictionaries, because keys can be made arbitrarily
expensive to hash or compare.

torch.load(weights_only=True, mmap=True) cannot replace it. With torch 2.13, safe globals and stand-ins for the
omegaconf classes it loads the published containers. But of the files in test_hostile_checkpoints.py seven run without
end (nested pairs as a dictionary or storage key, keys of equal hash), one ends the process with a segmentation fault
(a pair 300,000 levels deep as a key), and nine with valid weights are refused. With mmap it also accepts weights with
a wrong checksum.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from ttt3r_ros.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

# The published network has 40,000, with the state of its optimizer 150,000.
_MAX_INSTRUCTIONS = 1_000_000
_MAX_REASON = 200
_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *(
            "BINUNICODE",
            "SHORT_BINUNICODE",
            "BINBYTES",
            "SHORT_BINBYTES",
            "BINSTRING",
            "SHORT_BINSTRING",
        ),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})


@dataclass(eq=False, repr=False)
class Record:
    """One object or global name of a pickle; dictionaries are records named ``dict``.

    A global name has no ``args``; the result of a call has the name of the called object.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    entries: list[tuple[Any, Any]] = field(default_factory=list)  # in order, keys may repeat
    members: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.name or 'object'}>"

    def entry(self, key: str) -> Any:
        """Return the last value of a key, None if there is none."""
        return next(
            (value for k, value in reversed(self.entries) if isinstance(k, str) and k == key), None
        )


def read_pickle(data: bytes) -> Any:
    """Parse a pickle into records, lists, tuples, numbers and strings.

    Time and memory are proportional to the length. An object may occur in many places, even inside itself: traverse
    the result only with a bound on depth or repetitions.

    Raises:
        CheckpointError: the pickle is damaged, too long or has instructions that torch.save does not write.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if count == _MAX_INSTRUCTIONS:
                _fail(f"its pickle has more than {_MAX_INSTRUCTIONS} instructions")
            machine.step(opcode.name, argument, position or 0)
        return machine.pop()
    except CheckpointError:
        raise
    # A malformed pickle can make pickletools raise nearly any exception.
    except Exception as error:
        reason = str(error)[:_MAX_REASON]
        msg = f"its pickle is damaged or hostile ({type(error).__name__}: {reason})"
        raise CheckpointError(msg) from error


class _Machine:
    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._stacks_below_marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any, position: int) -> None:
        if opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _TUPLE_SIZES:
            items = [self.pop() for _ in range(_TUPLE_SIZES[opcode])]
            self._stack.append(tuple(reversed(items)))
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        elif opcode not in _IGNORED:
            _fail(f"its pickle holds {opcode} at byte {position}, which torch.save never writes")

    def pop(self) -> Any:
        return self._stack.pop()

    def push_name(self, argument: str) -> None:
        self._stack.append(Record(argument.replace(" ", ".", 1)))

    def push_name_from_stack(self, _: None) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            _fail("its pickle has a global name that is not a string")
        self._stack.append(Record(f"{module}.{name}"))

    def push_external(self, _: None) -> None:
        self._stack.append(Record("", (self.pop(),)))

    def push_dict(self, _: None) -> None:
        self._stack.append(Record("dict"))

    def push_list(self, _: None) -> None:
        self._stack.append([])

    def push_marked_tuple(self, _: None) -> None:
        items = self.pop_to_mark()
        self._stack.append(tuple(items))

    def push_marked_list(self, _: None) -> None:
        items = self.pop_to_mark()
        self._stack.append(items)

    def mark(self, _: None) -> None:
        self._stacks_below_marks.append(self._stack)
        self._stack = []

    def pop_to_mark(self, _: None = None) -> list[Any]:
        items, self._stack = self._stack, self._stacks_below_marks.pop()
        return items

    def discard(self, _: None) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.pop_to_mark()

    def memoize(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def push_memoized(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def call(self, _: None) -> None:
        args, function = self.pop(), self.pop()
        self._stack.append(_call(function, args))

    def call_with_keywords(self, _: None) -> None:
        keywords, args, function = self.pop(), self.pop(), self.pop()
        record = _call(function, args)
        record.members.append(keywords)
        self._stack.append(record)

    def set_state(self, _: None) -> None:
        state = self.pop()
        self._record("state").state = state

    def set_entry(self, _: None) -> None:
        value, key = self.pop(), self.pop()
        self._record("an entry").entries.append((key, value))

    def set_entries(self, _: None) -> None:
        items = self.pop_to_mark()
        self._record("entries").entries.extend(zip(items[::2], items[1::2], strict=True))

    def append(self, _: None) -> None:
        item = self.pop()
        self._members().append(item)

    def extend(self, _: None) -> None:
        items = self.pop_to_mark()
        self._members().extend(items)

    def _members(self) -> list[Any]:
        target = self._stack[-1]
        return target if isinstance(target, list) else self._record("members").members

    def _record(self, part: str) -> Record:
        target = self._stack[-1]
        if not isinstance(target, Record):
            _fail(f"its pickle gives {part} to an object of type {type(target).__name__}")
        return target


_ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "GLOBAL": _Machine.push_name,
    "STACK_GLOBAL": _Machine.push_name_from_stack,
    "BINPERSID": _Machine.push_external,
    "EMPTY_DICT": _Machine.push_dict,
    "EMPTY_LIST": _Machine.push_list,
    "EMPTY_SET": _Machine.push_list,
    "TUPLE": _Machine.push_marked_tuple,
    "FROZENSET": _Machine.push_marked_list,
    "MARK": _Machine.mark,
    "POP": _Machine.discard,
    "POP_MARK": _Machine.pop_to_mark,
    "BINPUT": _Machine.memoize,
    "LONG_BINPUT": _Machine.memoize,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.push_memoized,
    "LONG_BINGET": _Machine.push_memoized,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "BUILD": _Machine.set_state,
    "SETITEM": _Machine.set_entry,
    "SETITEMS": _Machine.set_entries,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "ADDITEMS": _Machine.extend,
}


def _call(function: Any, args: Any) -> Record:
    if not isinstance(function, Record) or not isinstance(args, tuple):
        _fail(f"its pickle calls an object of type {type(function).__name__} with {type(args).__name__}")
    is_plain_name = bool(function.name) and not function.args
    return Record(function.name, args) if is_plain_name else Record("", (function, *args))


def _fail(message: str) -> NoReturn:
    raise CheckpointError(message)
