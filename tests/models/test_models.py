"""The network, its preconditioning, its wrappers and its parameter files."""

import os
from statistics import NormalDist

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
from models import classifier, layers, precondition, unet
from solvers import npz
from solvers.schedule import VP

TINY = {"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1, "classes": 3}
SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def params():
    """Random parameters: those of an untrained network make it zero."""
    like = models.init(models.build(TINY), 0, SHAPE)
    leaves, tree = jax.tree.flatten(like)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(tree, [np.float32(0.3 * rng.normal(size=a.shape)) for a in leaves])


def denoiser_of(params, dtype="float32"):
    module = models.build(TINY, dtype)
    return models.denoise(lambda *args: module.apply({"params": params}, *args), models.PRECONDITIONINGS["edm"](0.7))


@jax.jit
def evaluate(params, x, sigma, labels):
    return denoiser_of(params)(x, sigma, labels)


def batch(n=3, seed=1):
    rng = np.random.default_rng(seed)
    sigma = np.exp(rng.normal(size=n)).astype(np.float32)
    return rng.normal(size=(n, *SHAPE)).astype(np.float32), sigma, np.arange(n, dtype=np.int32) % 4


@pytest.mark.parametrize("channels, blocks", [(32, 2), (40, 1), (48, 2)])
def test_the_network_has_07_to_3_million_parameters_and_starts_at_zero(channels, blocks):
    module = unet.UNet(channels=channels, blocks=blocks)
    x, one = jnp.zeros((2, 28, 28, 1)), jnp.zeros(2)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, one, one.astype(jnp.int32)))
    assert 0.7e6 < sum(a.size for a in jax.tree.leaves(shapes)) < 3e6
    assert jax.eval_shape(lambda p: module.apply(p, x, one, one.astype(jnp.int32)), shapes).shape == x.shape


def test_the_networks_last_convolution_is_zero_at_first():
    fresh = models.init(models.build(TINY), 0, SHAPE)
    x, sigma, labels = batch()
    expected = x * precondition.edm(0.7).coefficients(sigma).skip[:, None, None, None]
    np.testing.assert_allclose(evaluate(fresh, x, sigma, labels), expected, rtol=1e-6)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="do not divide into 4 x 4"):
        jax.eval_shape(
            lambda: models.build(TINY).init(
                jax.random.key(0), jnp.zeros((1, 10, 8, 1)), jnp.zeros(1), jnp.zeros(1, jnp.int32)
            )
        )
    with pytest.raises(ValueError, match="multiple of 8"):
        models.init(models.build(TINY | {"channels": 12}), 0, SHAPE)


def test_depth_to_space_inverts_space_to_depth():
    x = np.random.default_rng(0).normal(size=(2, 6, 4, 3))
    y = unet.space_to_depth(x, 2)
    np.testing.assert_array_equal(y[0, 0, 0], x[0, :2, :2].ravel())
    np.testing.assert_array_equal(unet.depth_to_space(y, 2), x)


def test_group_norm_is_flax_group_norm_and_an_affine_map():
    rng = np.random.default_rng(0)
    x = (2 + rng.normal(size=(2, 5, 5, 16))).astype(np.float32)
    scale, shift = rng.normal(size=(2, 2, 16)).astype(np.float32)
    weights = {"scale": rng.normal(size=16).astype(np.float32), "bias": rng.normal(size=16).astype(np.float32)}
    found = layers.GroupNorm(2).apply({"params": weights}, x, scale, shift)
    expected = nn.GroupNorm(num_groups=2, epsilon=1e-5).apply({"params": weights}, x)
    expected = expected * (1 + scale[:, None, None]) + shift[:, None, None]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_noise_embedding_is_smooth_in_the_noise_level():
    """Frequencies far above 1 would make second-order solvers stall and the derivative in lam noise."""
    slope = jax.jvp(unet.noise_features, (jnp.linspace(-1.6, 1.1, 50),), (jnp.ones(50),))[1]
    assert np.abs(slope).max() <= 8.0 * 1.001


@pytest.mark.parametrize("sigma", [0.002, 0.7, 80.0])
def test_preconditioning_gives_the_network_inputs_targets_and_losses_of_scale_one(sigma):
    sd = 0.7
    c = precondition.edm(sd).coefficients(np.float64(sigma))
    np.testing.assert_allclose(c.inner**2 * (sigma**2 + sd**2), 1, rtol=1e-6)
    target_variance = ((1 - c.skip) ** 2 * sd**2 + (c.skip * sigma) ** 2) / c.out**2  # of (x0 - c_skip x) / c_out
    np.testing.assert_allclose(target_variance, 1, rtol=1e-5)
    rng = np.random.default_rng(0)
    x0, noise = sd * rng.normal(size=(400, 8, 8, 1)), rng.normal(size=(400, 8, 8, 1))
    zero = models.denoise(lambda x, c_noise, labels: jnp.zeros_like(x), precondition.edm(sd))
    loss = precondition.loss(zero, jnp.float32(x0), None, jnp.full(400, sigma, jnp.float32), jnp.float32(noise), sd)
    assert abs(loss.mean() - 1) < 6 * (2 / x0.size) ** 0.5  # six standard errors of a mean of squares


def test_training_noise_reaches_both_ends():
    n, share = 200_000, 0.3
    sigma = precondition.noise_levels(
        jax.random.key(0), n, p_mean=-1.2, p_std=1.2, uniform_share=share, low=0.002, high=80.0
    )
    below = NormalDist(-1.2, 1.2).cdf
    for low, high in ((20, 80), (0.002, 0.005)):
        a, b = np.log([low, high])
        p = share * (b - a) / np.log(80 / 0.002) + (1 - share) * (below(b) - below(a))
        assert abs(np.mean((sigma > low) & (sigma <= high)) - p) < 6 * (p * (1 - p) / n) ** 0.5


def test_bound_and_mapped_it_is_the_batched_denoiser(params):
    x, sigma, labels = batch()
    denoiser = denoiser_of(params)
    found = jax.jit(jax.vmap(lambda x, t, label: models.bind(denoiser, label)(x, t)))(x, sigma, labels)
    np.testing.assert_allclose(found, evaluate(params, x, sigma, labels), atol=1e-5)
    assert np.abs(found[0] - evaluate(params, x, sigma, labels * 0 + 3)[0]).max() > 1e-3  # labels matter


def test_bind_serves_other_schedules(params):
    x, vp, t = batch()[0][0], VP(), 0.4
    denoiser = denoiser_of(params)
    found = jax.jit(models.bind(denoiser, 3, vp))(x, t)
    alpha, sigma = float(vp.alpha(t)), float(vp.sigma(t))
    scaled = evaluate(params, np.stack([x / alpha] * 3), np.full(3, sigma / alpha, np.float32), np.full(3, 3))
    np.testing.assert_allclose(found, scaled[0], atol=1e-5)


def test_guidance_extrapolates_in_one_call(params):
    x, sigma, _ = batch()
    calls = []
    inner = denoiser_of(params)

    def denoiser(x, sigma, labels):
        calls.append(x.shape[0])
        return inner(x, sigma, labels)

    c, u = models.bind(denoiser, 1), models.bind(denoiser, 3)
    with_scale = jax.jit(lambda scale: models.guided(c, u, scale)(x[0], sigma[0]))
    expected = evaluate(params, np.stack([x[0]] * 3), sigma[:1].repeat(3), np.array([1, 3, 3], np.int32))
    np.testing.assert_allclose(with_scale(2.5), expected[1] + 2.5 * (expected[0] - expected[1]), atol=1e-5)
    np.testing.assert_allclose(with_scale(1.0), expected[0], atol=1e-5)
    assert calls == [2]
    apart = models.guided(lambda x, t: x, lambda x, t: 2 * x, 3.0)
    np.testing.assert_allclose(apart(x[0], 1.0), -x[0], rtol=1e-6)


def test_precision(params, x64):
    """bfloat16 networks take and give float32; float64 parameters give float64, near the float32 result."""
    x, sigma, labels = batch()
    exact = jax.tree.map(np.float64, params)
    found = {
        "f32": evaluate(params, x, sigma, labels),
        "bf16": jax.jit(denoiser_of(params, "bfloat16"))(x, sigma, labels),
        "f64": evaluate(exact, np.float64(x), np.float64(sigma), labels),
    }
    assert [str(found[k].dtype) for k in ("f32", "bf16", "f64")] == ["float32", "float32", "float64"]
    np.testing.assert_allclose(found["f32"], found["f64"], atol=1e-3)
    np.testing.assert_allclose(found["bf16"], found["f64"], atol=0.3)


def test_forward_mode_derivatives_match_differences(params, x64):
    x, sigma, labels = (np.float64(a) if a.dtype == np.float32 else a for a in batch())
    model = models.bind(denoiser_of(jax.tree.map(np.float64, params)), labels[0])
    dx, dt, h = np.random.default_rng(2).normal(size=SHAPE), 0.3, 1e-5
    slope = jax.jit(lambda x, t: jax.jvp(model, (x, t), (dx, dt))[1])(x[0], sigma[0])
    model = jax.jit(model)
    difference = (model(x[0] + h * dx, sigma[0] + h * dt) - model(x[0] - h * dx, sigma[0] - h * dt)) / (2 * h)
    np.testing.assert_allclose(slope, difference, atol=1e-6)


def test_a_parameter_file_alone_rebuilds_the_network(params, tmp_path):
    path = tmp_path / "run" / "params.npz"
    models.save_params(path, params, {"network": TINY, "sigma_data": 0.7})
    x, sigma, labels = batch()
    for given in (path, path.parent):
        loaded, make_denoiser = models.load(given)
        jax.tree.map(np.testing.assert_array_equal, loaded, params)
    found = jax.jit(lambda p, *args: make_denoiser(p)(*args))(loaded, x, sigma, labels)
    np.testing.assert_allclose(found, evaluate(params, x, sigma, labels), atol=1e-5)
    assert os.listdir(path.parent) == ["params.npz"]


def test_damaged_and_foreign_files_are_refused(params, tmp_path):
    path = tmp_path / "params.npz"
    models.save_params(path, params, {"network": TINY, "sigma_data": 0.7})
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    for damaged in (content[: len(content) // 2], b"", b"hello", bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="params.npz is truncated, corrupted or no .npz"):
            models.load(path)
    np.savez(path, images=np.zeros(3))
    with pytest.raises(ValueError, match="holds no parameters of a network"):
        models.load(path)
    np.savez(path, evil=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="params.npz"):
        models.load(path)
    with pytest.raises(FileNotFoundError, match="nothing.npz"):
        models.load(tmp_path / "nothing.npz")
    models.save_params(path, params, {"network": {"name": "resnet"}, "sigma_data": 0.7})
    with pytest.raises(ValueError, match="unknown network 'resnet': known are unet"):
        models.load(path)
    with pytest.raises(ValueError, match="expected a classifier"):
        classifier.load(path)


def test_a_failed_write_leaves_the_old_file(params, tmp_path, monkeypatch):
    path = tmp_path / "params.npz"
    models.save_params(path, params, {"network": TINY})
    before = path.read_bytes()

    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(npz.np, "savez", broken)
    with pytest.raises(OSError, match="disk full"):
        models.save_params(path, params, {"network": TINY})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["params.npz"]
