"""One training step of a denoiser, and many of them in one call."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.data import pixels
from experiments.support.errors import ConfigError
from experiments.support.mesh import first_mesh
from models import precondition

NOISE_RANGE = (0.002, 80.0)  # the sampling range of EDM, which the log-uniform share of the noise covers
RAMP = 0.05  # EDM: the average's half-life is at most this share of the images seen


class State(NamedTuple):
    params: dict
    ema: dict
    opt_state: tuple
    step: jax.Array  # number of updates done


def matrices(params):
    """The parameters that Muon treats as matrices, kernels as [inputs, outputs].

    Adam keeps the first and last layers, embeddings and vectors, as Muon's author advises.
    """

    def axes(path, p):
        edge = any(key.key in ("stem", "head", "noise0", "label") for key in path)
        return None if p.ndim < 2 or edge else optax.contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), p.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)


# consistent_rms (Liu et al. 2025, arXiv 2502.16982) makes Muon's updates as large as Adam's: one learning rate for both
OPTIMIZERS = {
    "adam": optax.adam,
    "muon": lambda rate: optax.contrib.muon(
        rate, adam_learning_rate=rate, consistent_rms=0.2, muon_weight_dimension_numbers=matrices
    ),
}


def optimizer(
    name: str, learning_rate: float, warmup: int, steps: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser behind a clip of the gradient's norm at 1; linear warm-up, cosine decay to a thousandth."""
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown train.optimizer = {name!r}: choose one of {', '.join(OPTIMIZERS)}")
    if not 0 <= warmup < steps:
        raise ValueError(f"train.warmup = {warmup} must be below train.steps = {steps}: lower it or train longer")
    schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, steps, learning_rate * 1e-3)
    return optax.chain(optax.clip_by_global_norm(1.0), OPTIMIZERS[name](schedule)), schedule


def average(ema, params, step, batch: int, half_life: float):
    """EDM's parameter average: half-life in images, at most RAMP of the images seen so far."""
    images = (step + 1) * batch
    decay = 0.5 ** (batch / jnp.minimum(half_life, images * RAMP))
    return jax.tree.map(lambda e, p: p + (e - p) * decay, ema, params)


def make_update(module, optimiser, mesh: Mesh, sigma_data: float, own):
    """update(state, images uint8 [B, H, W, C], labels uint8 [B]) -> (state, loss, norm of the gradient).

    own: the section `train` of the config; sigma_data: the standard deviation of all pixels.

    Each device of the mesh takes its share of the batch; loss and gradient are averaged as one vector. Simulated
    devices of a CPU share a thread pool, in which several collectives at once can wait for each other for ever.
    """
    levels = {"p_mean": own.p_mean, "p_std": own.p_std, "uniform_share": own.uniform_share}
    levels |= dict(zip(("low", "high"), NOISE_RANGE))

    def draw(step, index):
        """The noise level of sample `index` of the batch, whether its label is dropped, and the key of its noise."""
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(own.seed), step), index)
        level, noise, dropout = jax.random.split(key, 3)
        sigma = precondition.noise_levels(level, 1, **levels)
        return sigma[0], jax.random.bernoulli(dropout, own.label_dropout), noise

    condition = precondition.edm(sigma_data)

    def share(params, step, images, labels):
        index = jax.lax.axis_index("batch") * len(images) + jnp.arange(len(images))
        sigma, dropped, keys = jax.vmap(draw, (None, 0))(step, index)
        labels = jnp.where(dropped, module.classes, labels.astype(jnp.int32))
        z = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)

        def loss(params):
            denoiser = precondition.denoise(lambda *args: module.apply({"params": params}, *args), condition)
            return precondition.loss(denoiser, pixels.to_float(images), labels, sigma, z, sigma_data).mean()

        flat, unravel = ravel_pytree(jax.value_and_grad(loss)(params))
        return unravel(jax.lax.pmean(flat, "batch"))

    whole, split = PartitionSpec(), PartitionSpec("batch")
    # without the check of replication, which would add a collective for each parameter
    mean_gradient = jax.shard_map(
        share, mesh=mesh, in_specs=(whole, whole, split, split), out_specs=whole, check_vma=False
    )

    def update(state: State, images, labels):
        loss, gradient = mean_gradient(state.params, state.step, images, labels)
        change, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, change)
        ema = average(state.ema, params, state.step, own.batch, own.ema_images)
        return State(params, ema, opt_state, state.step + 1), loss, optax.global_norm(gradient)

    return update


def make_chunk(update, mesh, scan: bool | None = None):
    """Many updates in one call: chunk(state, images [S, B, H, W, C], labels [S, B]) -> (state, losses, norms [S]).

    The state is donated. On an accelerator the chunk is one program (a scan); on a CPU it is a loop of calls, since
    XLA runs the gradients of convolutions inside a scan on one core and without its fast kernels (10 times slower).
    """
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))

    def body(state, example):
        state, loss, norm = update(state, *example)
        return state, (loss, norm)

    def looped(state, images, labels):
        results = []
        for example in zip(images, labels, strict=True):
            state, result = step(state, jax.device_put(example, split))
            results.append(result)
        return state, *(list(r) for r in zip(*results, strict=True))

    def scanned(state, images, labels):
        state, (losses, norms) = whole_chunk(state, *jax.device_put((images, labels), deep))
        return state, losses, norms

    deep = NamedSharding(mesh, PartitionSpec(None, "batch"))
    step = jax.jit(body, donate_argnums=0, out_shardings=whole)
    whole_chunk = jax.jit(
        lambda state, *examples: jax.lax.scan(body, state, examples), donate_argnums=0, out_shardings=whole
    )
    return scanned if (jax.default_backend() != "cpu" if scan is None else scan) else looped


def batch_mesh(count: int, batch: int) -> Mesh:
    """A mesh of the first `count` devices, 0 for as many as divide the batch."""
    count = count or max(n for n in range(1, len(jax.devices()) + 1) if batch % n == 0)
    if batch % count:
        raise ConfigError(f"train.batch = {batch} is not a multiple of train.devices = {count}: change one of them")
    return first_mesh(count, "train.devices")


def init_state(optimiser, params, mesh: Mesh) -> State:
    """The state before the first step, on every device of the mesh."""
    whole = NamedSharding(mesh, PartitionSpec())
    state = State(params, params, optimiser.init(params), jnp.zeros((), jnp.int32))
    return jax.jit(lambda s: jax.tree.map(jnp.copy, s), out_shardings=whole)(state)
