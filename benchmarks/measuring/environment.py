"""What a figure was measured on."""

import keras

import keras_warn.environment


def environment():
    """`keras_warn.environment`, and the names of GPUs."""
    return {**keras_warn.environment.environment(), "gpus": gpus()}


def gpus():
    """The names of the GPUs that the backend uses."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details
        found = tf.config.list_physical_devices("GPU")
        return [details(one).get("device_name", one.name) for one in found]
    if keras.backend.backend() == "jax":
        import jax

        return [d.device_kind for d in jax.devices() if d.platform != "cpu"]
    import torch

    count = torch.cuda.device_count()
    return [torch.cuda.get_device_name(i) for i in range(count)]


def described(machine):
    """What `environment` returned, in words."""
    devices = ", ".join(machine["gpus"]) or machine["cpu"]
    return (
        f"{machine['backend']} on {devices}, {machine['cores']} cores, "
        f"{machine['date']}."
    )


def machine_and_versions():
    """Processor, cores, versions and date, as a line."""
    found = keras_warn.environment.environment()
    return (
        f"{found['cpu']}, {found['cores']} cores, "
        f"{found['backend']} {found[found['backend']]}, "
        f"Keras {found['keras']}, {found['date'][:10]}"
    )
