"""Makes pickles and PyTorch files without PyTorch: of the layout of EDM's, and hostile ones that do what none should.

They are only ever written here. `Name`, `Made` and `Id` stand for what a pickle may name, call, and refer to.
"""

import pickle
import struct
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

PLANTED = "PLANTED"  # the file that each payload would leave in the working directory
PAYLOAD = f"open({PLANTED!r}, 'w').write('executed')\n"
MAGIC = 0x1950A86A20F9469CFC6C
BUFFERS = "resample_filter", "freqs", "u"
HOOKS = (
    "_backward_pre_hooks _backward_hooks _is_full_backward_hook _forward_hooks _forward_hooks_with_kwargs "
    "_forward_hooks_always_called _forward_pre_hooks _forward_pre_hooks_with_kwargs _state_dict_hooks "
    "_state_dict_pre_hooks _load_state_dict_pre_hooks _load_state_dict_post_hooks"
).split()


class Name(NamedTuple):
    """A class or function."""

    module: str
    name: str


class Made(NamedTuple):
    """What calling a function gives (REDUCE), or a new object of a class (NEWOBJ); then its state (BUILD)."""

    function: Any
    args: tuple = ()
    state: Any = None
    new: bool = False


class Id(NamedTuple):
    """A persistent id."""

    pid: Any


class Writer(pickle._Pickler):
    """The standard library's pickler in Python, which also writes names that nobody can import."""

    dispatch = dict(pickle._Pickler.dispatch)

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Id) else None

    def save_name(self, obj):
        if self.proto < 4:
            self.write(b"c%s\n%s\n" % (obj.module.encode(), obj.name.encode()))
        else:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    def save_made(self, obj):
        self.save(obj.function)
        self.save(obj.args)
        self.write(pickle.NEWOBJ if obj.new else pickle.REDUCE)
        self.memoize(obj)
        if obj.state is not None:
            self.save(obj.state)
            self.write(pickle.BUILD)

    def save_ordered(self, obj):
        self.save_made(Made(Name("collections", "OrderedDict")))
        self._batch_setitems(obj.items())

    dispatch.update({Name: save_name, Made: save_made, OrderedDict: save_ordered})


class _Sink(bytearray):
    write = bytearray.extend


def dumps(obj, protocol: int = 4) -> bytes:
    """A pickle."""
    sink = _Sink()
    Writer(sink, protocol).dump(obj)
    return bytes(sink)


def shell() -> Made:
    """A call of os.system that plants the file."""
    return Made(Name("os", "system"), (f"touch {PLANTED}",))


def storage_id(key: str, count: int, kind: str = "FloatStorage") -> Id:
    """What stands for a storage in a PyTorch file."""
    return Id(("storage", Name("torch", kind), key, "cpu", count))


def tensor(storage, size, stride=None, offset: int = 0) -> Made:
    """A tensor of a storage; strides of C order if none are given."""
    stride = tuple(int(np.prod(size[axis + 1 :])) for axis in range(len(size))) if stride is None else stride
    return Made(Name("torch._utils", "_rebuild_tensor_v2"), (storage, offset, size, stride, False, OrderedDict()))


def stream(obj, storages=(), little=True, magic=MAGIC, protocol=1001) -> bytes:
    """PyTorch's format before 1.6, of an object and its storages (key, array)."""
    storages = sorted(storages)
    facts = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [dumps(part, 2) for part in (magic, protocol, facts, obj, [key for key, _ in storages])]
    return b"".join(parts + [struct.pack("<q", array.size) + array.tobytes() for _, array in storages])


def whole(array) -> Made:
    """A tensor as a plain pickle holds it: its storage is a PyTorch file in its bytes."""
    array = np.ascontiguousarray(array)
    kind = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage", "float16": "HalfStorage"}
    pid = Id((*storage_id("0", array.size, kind[array.dtype.name]).pid, None))
    return tensor(Made(Name("torch.storage", "_load_from_bytes"), (stream(pid, [("0", array)]),)), array.shape)


def persistent(class_name: str, state: dict, source: str = PAYLOAD, version: int = 6, kind: str = "class") -> Made:
    """An object of EDM's or StyleGAN's persistent classes; `source` is what PyTorch's users would execute."""
    meta = dict(type=kind, version=version, module_src=source, class_name=class_name, state=state)
    return Made(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def edm_pickle(class_name: str, model_class: str, tensors: dict, init_kwargs: dict, model_kwargs: dict) -> bytes:
    """A file as EDM publishes: {"ema": network}, from a preconditioning class and the class of the network inside.

    tensors: arrays by the names of a state_dict ("model.enc.32x32_block0.conv0.weight"). init_kwargs, model_kwargs:
    what the two were made with; the outer one has them as attributes too.
    """
    nested: dict = {}
    for name, array in tensors.items():
        *folders, leaf = name.split(".")
        node = nested
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = np.asarray(array)
    classes = {(): (class_name, init_kwargs), ("model",): (model_class, model_kwargs)}
    return dumps({"ema": _module(nested, (), classes)})


def _module(node: dict, path: tuple, classes: dict) -> Made:
    arrays = {name: value for name, value in node.items() if not isinstance(value, dict)}
    inner = {name: value for name, value in node.items() if isinstance(value, dict)}
    parameters = OrderedDict((name, _parameter(value)) for name, value in arrays.items() if name not in BUFFERS)
    state = {"training": False, "_parameters": parameters}
    state["_buffers"] = OrderedDict((name, whole(value)) for name, value in arrays.items() if name in BUFFERS)
    state["_non_persistent_buffers_set"] = set()
    state |= {hook: None if hook == "_is_full_backward_hook" else OrderedDict() for hook in HOOKS}
    state["_modules"] = OrderedDict((name, _module(value, (*path, name), classes)) for name, value in inner.items())
    if path[1:] in (("enc",), ("dec",)):
        return Made(Name("torch.nn.modules.container", "ModuleDict"), (), state, new=True)
    ranks = {4: "Conv2d", 2: "Linear", 1: "GroupNorm"}
    guess = "UNetBlock" if inner else ranks.get(max((value.ndim for value in arrays.values()), default=1), "Linear")
    name, options = classes.get(path, (guess, {}))
    attributes = options if not path else {}
    return persistent(name, state | attributes | {"_init_args": (), "_init_kwargs": options})


def _parameter(array) -> Made:
    return Made(Name("torch._utils", "_rebuild_parameter"), (whole(array), False, OrderedDict()))
