"""Files that mean harm, are damaged, or of another kind: each is refused in a sentence, and nothing is executed."""

import gc
import pickle
import random

import flax.serialization
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy

from models.convert import read as read_module
from models.convert.read import read
from tests.helpers import hostile
from tests.helpers.hostile import PLANTED, dumps, persistent
from tests.helpers.hostile_files import CASES, NUMBERS
from tests.models.test_convert_files import DATA, written


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_refused(here, case):
    content, says = CASES[case]
    path = written(here, content)
    with pytest.raises(ValueError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read") and says in message
    assert "\n" not in message and message.isprintable() and len(message) < 600
    assert [file.name for file in here.iterdir()] == ["file"], "the payload was executed"


def test_the_payloads_are_live(here):
    """What is refused above would have been executed by the standard library, so the tests above can fail."""
    pickle.loads(CASES["os.system in REDUCE"][0])
    assert (here / PLANTED).exists()


def test_source_in_a_pickle_is_not_run(here):
    tree = read(written(here, dumps({"ema": persistent("Net", {"w": hostile.whole(NUMBERS)})})))
    np.testing.assert_array_equal(tree["ema"].state["w"], NUMBERS)
    assert [file.name for file in here.iterdir()] == ["file"]


def test_no_file_and_names(here):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint nowhere.pt: give"):
        read("nowhere.pt")
    (here / "folder").mkdir()
    with pytest.raises(ValueError, match="the folder has no _METADATA, it holds nothing"):
        read("folder")
    with pytest.raises(ValueError, match="^https://a.b/c.pt cannot be read: it is empty"):
        read(written(here, b""), name="https://a.b/c.pt")


def test_orbax_arrays_far_larger_than_their_folder(here, monkeypatch):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(here / "saved", {"w": jnp.zeros((2**22,))})
    monkeypatch.setattr(read_module, "SMALL", 2**23)
    with pytest.raises(ValueError, match="it declares arrays of 16,777,216 bytes and has"):
        read(here / "saved")


def examples(folder) -> dict[str, bytes]:
    """A small file of each format."""
    safetensors.numpy.save_file({"w": NUMBERS}, folder / "s")
    return {
        "safetensors": (folder / "s").read_bytes(),
        "msgpack": flax.serialization.msgpack_serialize({"a": {"w": NUMBERS}, "b": 1}),
        "zip": (DATA / "zip.pt").read_bytes(),
        "legacy": (DATA / "legacy.pt").read_bytes(),
        "module": (DATA / "module.pt").read_bytes(),
        "edm": hostile.edm_pickle("EDMPrecond", "SongUNet", {"model.enc.a.weight": NUMBERS}, {}, {}),
        "numpy": pickle.dumps({"w": NUMBERS, "s": np.float32(1), "t": (1, b"a", {2})}, 2),
    }


def works_or_value_error(path, content) -> bool:
    path.write_bytes(content)
    try:
        read(path)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("kind", ["safetensors", "msgpack", "zip", "legacy", "module", "edm", "numpy"])
def test_damaged_files_work_or_are_value_errors(here, kind):
    """No truncated file works; one with some bytes changed works or is refused, and never fails otherwise."""
    content, chance = examples(here)[kind], random.Random(7)
    path = here / "damaged"
    assert works_or_value_error(path, content)
    for length in {*range(0, len(content), max(len(content) // 60, 1)), len(content) - 1}:
        assert not works_or_value_error(path, content[:length]), (
            f"{length} of {len(content)} bytes are taken for a file"
        )
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 8))):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 255, chance.randrange(256)))
        works_or_value_error(path, bytes(damaged))
    assert not (here / PLANTED).exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves its event loop closed
def test_damaged_orbax_folders_work_or_are_value_errors(here):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(here / "saved", {"w": jnp.asarray(NUMBERS), "n": 3})
    chance = random.Random(7)
    files = sorted(file for file in (here / "saved").rglob("*") if file.is_file())
    refused = 0
    for file in files:
        content = file.read_bytes()
        for changed in (b"", content[: len(content) // 2], bytes(b ^ (chance.random() < 0.05) for b in content)):
            file.write_bytes(changed)
            try:
                read(here / "saved")
            except ValueError as error:
                assert str(error).startswith(f"{here}/saved cannot be read")
                refused += 1
            file.write_bytes(content)
    assert refused and read(here / "saved")["n"] == 3
    gc.collect()  # Orbax's failed tasks complain when they are collected: here, not in the tests that follow
