"""HANDLERS, name of an opcode -> handler(machine, argument): the effect of each opcode of a pickle on pickles.Machine.

A handler may fail with LookupError, TypeError or AttributeError where the stack does not hold what it needs.
"""

from models.convert import names
from models.convert.tree import DAMAGED, check_key, shown

MEMO = 5_000_000  # the largest index of the memo; picklers count from 0
REFUSED = "EXT1", "EXT2", "EXT4", "PERSID", "NEWOBJ_EX", "NEXT_BUFFER", "READONLY_BUFFER"
HANDLERS = {}


def on(opcodes: str):
    """A decorator that registers the handler of these opcodes."""

    def keep(handler):
        HANDLERS.update(dict.fromkeys(opcodes.split(), handler))
        return handler

    return keep


on("PROTO FRAME STOP")(lambda machine, arg: None)
on("NONE")(lambda machine, arg: machine.stack.append(None))
on("NEWTRUE")(lambda machine, arg: machine.stack.append(True))
on("NEWFALSE")(lambda machine, arg: machine.stack.append(False))
on("EMPTY_LIST")(lambda machine, arg: machine.stack.append([]))
on("EMPTY_TUPLE")(lambda machine, arg: machine.stack.append(()))
on("EMPTY_DICT")(lambda machine, arg: machine.stack.append({}))
on("EMPTY_SET")(lambda machine, arg: machine.stack.append(set()))
on("MARK")(lambda machine, arg: machine.marks.append(len(machine.stack)))
on("POP_MARK")(lambda machine, arg: machine.pop_mark())
on("DUP")(lambda machine, arg: machine.stack.append(machine.stack[-1]))
on("LIST")(lambda machine, arg: machine.stack.append(machine.pop_mark()))
on("TUPLE")(lambda machine, arg: machine.stack.append(tuple(machine.pop_mark())))
on("FROZENSET")(lambda machine, arg: machine.stack.append(frozenset(map(check_key, machine.pop_mark()))))
on("GET BINGET LONG_BINGET")(lambda machine, key: machine.stack.append(machine.memo[key]))
on("BYTEARRAY8")(lambda machine, arg: machine.stack.append(bytes(arg)))
on(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "SHORT_BINUNICODE BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8"
)(lambda machine, arg: machine.stack.append(arg))


@on("POP")
def _pop(machine, arg):
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.stack.pop()


@on("PUT BINPUT LONG_BINPUT MEMOIZE")
def _put(machine, key):
    key = len(machine.memo) if key is None else key
    if not 0 <= key <= MEMO:
        raise ValueError(f"the memo index {key} is beyond {MEMO:,}, which no pickler writes: {DAMAGED}")
    machine.memo[key] = value = machine.stack[-1]
    if isinstance(value, names.Pending):
        value.keys.append(key)


def _tuple_of(size):
    def handler(machine, arg):
        items = tuple(machine.stack.pop() for _ in range(size))
        machine.stack.append(items[::-1])

    return handler


HANDLERS.update({f"TUPLE{size}": _tuple_of(size) for size in (1, 2, 3)})


def _set_items(machine, items):
    if len(items) % 2:
        raise ValueError(f"a dict has a key without a value: {DAMAGED}")
    machine.stack[-1].update({check_key(key): value for key, value in zip(items[::2], items[1::2])})


@on("SETITEM")
def _set_item(machine, arg):
    value, key = machine.stack.pop(), machine.stack.pop()
    _set_items(machine, [key, value])


@on("SETITEMS")
def _set_marked_items(machine, arg):
    items = machine.pop_mark()
    _set_items(machine, items)


@on("DICT")
def _dict(machine, arg):
    items = machine.pop_mark()
    machine.stack.append({})
    _set_items(machine, items)


@on("APPEND")
def _append(machine, arg):
    item = machine.stack.pop()
    machine.stack[-1].append(item)


@on("APPENDS")
def _extend(machine, arg):
    items = machine.pop_mark()
    machine.stack[-1].extend(items)


@on("ADDITEMS")
def _add(machine, arg):
    items = machine.pop_mark()
    machine.stack[-1].update(map(check_key, items))


@on("GLOBAL")
def _global(machine, name):
    machine.stack.append(names.find(*name.split(" ", 1)))


@on("STACK_GLOBAL")
def _stack_global(machine, arg):
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(names.find(module, name))


@on("REDUCE")
def _reduce(machine, arg):
    args, function = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(names.call(machine, function, args))


@on("INST")
def _inst(machine, name):
    function = names.find(*name.split(" ", 1))
    machine.stack.append(names.call(machine, function, tuple(machine.pop_mark())))


@on("OBJ")
def _obj(machine, arg):
    function, *args = machine.pop_mark() or [None]
    machine.stack.append(names.call(machine, function, tuple(args)))


@on("NEWOBJ")
def _new(machine, arg):
    args, record = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(names.new(record, args))


@on("BUILD")
def _build(machine, arg):
    state, value = machine.stack.pop(), machine.stack[-1]
    if not isinstance(value, names.Pending):
        names.set_state(machine, value, state)
        return
    built = machine.stack[-1] = value.build(machine, state)
    for key in value.keys:
        if machine.memo[key] is value:
            machine.memo[key] = built


@on("BINPERSID")
def _persistent(machine, arg):
    if machine.persistent is None:
        raise ValueError(f"it refers to data outside of itself (a persistent id), where nothing is: {DAMAGED}")
    machine.stack.append(machine.persistent(machine.stack.pop()))


def _refuser(opcode):
    def handler(machine, arg):
        raise ValueError(f"it uses {opcode} ({shown(arg)}), which no checkpoint needs: {names.REMEDY}")

    return handler


HANDLERS.update({name: _refuser(name) for name in REFUSED})
