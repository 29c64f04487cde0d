"""Train the feature network, and collect the reference moments of the data in feature space and in pixel space.

    python main.py --config=configs/fashion_mnist.py --config.experiment=classifier --workdir=/tmp/classifier

A small convolutional network, AdamW with cosine decay, dropout, images shifted by up to a pixel (no flips: all shoes
point left). Takes some minutes on two cores. The workdir then holds classifier.npz, reference.npz and results.json.
The Fréchet distance in these features is not the Inception FID.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import models
from experiments.data import datasets, files, pixels
from experiments.data.progress import Progress
from experiments.metrics import distances as metrics
from experiments.metrics.moments import moments
from experiments.metrics.spaces import Space, features
from experiments.support import scores as report
from models import classifier as classifiers
from solvers import fingerprint
from solvers.npz import write as write_npz

SHIFT = 1  # pixels of augmentation in each direction
BATCH, LEARNING_RATE, WEIGHT_DECAY = 128, 1.5e-3, 0.01


def shifted(key, images):
    """Each image of [B, H, W, C] moved by -SHIFT..SHIFT pixels, the border filled with black (-1)."""
    b, h, w, c = images.shape
    padded = jnp.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), constant_values=-1)
    offsets = jax.random.randint(key, (b, 2), 0, 2 * SHIFT + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), (h, w, c)))(padded, offsets)


def make_step(module, optimiser, seed: int):
    """step(params, opt_state, number, images uint8, labels) -> (params, opt_state, loss)."""

    def batch_loss(params, key, images, labels):
        logits = module.apply({"params": params}, images, key)[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(params, opt_state, number, images, labels):
        shift, dropout = jax.random.split(jax.random.fold_in(jax.random.key(seed), number))
        images = shifted(shift, pixels.to_float(images))
        loss, gradient = jax.value_and_grad(batch_loss)(params, dropout, images, labels)
        change, opt_state = optimiser.update(gradient, opt_state, params)
        return optax.apply_updates(params, change), opt_state, loss

    return jax.jit(step, donate_argnums=(0, 1))


def fit(module, images, labels, *, epochs: float, seed: int = 0, batch: int = BATCH) -> dict:
    """Parameters after `epochs` passes over images uint8 [N, H, W, C] and labels [N]."""
    steps = max(1, round(epochs * len(images) / batch))
    rate = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, steps // 10, steps)
    optimiser = optax.adamw(rate, weight_decay=WEIGHT_DECAY)
    params = classifiers.init(module, seed, images.shape[1:])
    opt_state, step = optimiser.init(params), make_step(module, optimiser, seed)
    bar = Progress(range(steps), desc="classifier", unit="step")
    for number in bar:
        index = step.batch_indices(len(images), batch, range(number, number + 1), seed)[0]
        params, opt_state, loss = step(params, opt_state, number, images[index], labels[index])
        if number % 100 == 99 or number == steps - 1:
            if not np.isfinite(loss):
                raise FloatingPointError(f"the classifier's loss is {loss} at step {number}: use another train.seed")
            bar.set_postfix(loss=f"{loss:.3f}")
    return params


def predict(module, params, images, batch: int = 250) -> np.ndarray:
    """Classes [N] of images uint8 [N, H, W, C]."""
    head = params["logits"]
    return (features(Space("classifier", module, params), images, batch) @ head["kernel"] + head["bias"]).argmax(-1)


def write_reference(path, classifier, train, test) -> dict:
    """Write the moments of two sets of uint8 images, in features and pixels (float [-1, 1], flattened), to an .npz.

    Arrays: {train,test}_{feature,pixel}_mean (float64) and _cov (divided by N - 1; float32, which changes a Fréchet
    distance by 1e-6 or so of itself), {train,test}_count. Returns the distances between real sets: how small the
    Fréchet distance of perfect samples would be, for 5,000 and for all test images.
    """
    arrays, found = {}, {}
    for name, images in (("train", train), ("test", test)):
        found[name] = features(Space("classifier", *classifier), images)
        for space, rows in (("feature", found[name]), ("pixel", pixels.to_float(images).reshape(len(images), -1))):
            mean, cov = moments(rows)
            arrays |= {f"{name}_{space}_mean": mean, f"{name}_{space}_cov": cov.astype(np.float32)}
        arrays[f"{name}_count"] = np.int64(len(images))
    target = arrays["train_feature_mean"], arrays["train_feature_cov"]
    real = {
        str(n): metrics.frechet(*moments(found["test"][:n]), *target)
        for n in sorted({min(n, len(test)) for n in (1000, 5000, len(test))})
    }
    for n, value in real.items():
        arrays[f"frechet_test_{n}"] = np.float64(value)
    write_npz(path, arrays, compress=True)
    return real


def run(config, workdir) -> dict:
    """Train, test and save the classifier and the reference moments; returns what results.json holds."""
    workdir, epochs = Path(workdir), config.train.classifier_epochs
    train, train_labels, test, test_labels, classes = datasets.load(config.data.name, config.data.path)
    report.write_config(workdir / "config.json", config)
    network = {"channels": 32, "features": 128, "classes": classes}
    module = classifiers.Classifier(**network)
    params = fit(module, train, train_labels.astype(np.int32), epochs=epochs, seed=config.train.seed)
    accuracy = float((predict(module, params, test) == test_labels).mean())
    meta = {
        "network": {"name": "classifier", **network},
        "accuracy": accuracy,
        "epochs": epochs,
        "data": config.data.name,
        "data_sha256": fingerprint.checksum(train, train_labels),
    }
    models.save_params(workdir / "classifier.npz", params, meta)
    real = write_reference(workdir / "reference.npz", (module, params), train, test)
    results = {"accuracy": accuracy, "frechet_of_test_images": real}
    files.write_json(workdir / "results.json", results)
    print(f"accuracy on {len(test)} test images: {accuracy:.2%}")
    for count, value in real.items():
        print(
            f"Fréchet distance of {count} test images to {len(train)} training images: {value:.3f} "
            "(classifier features, not the Inception FID)"
        )
    return results
