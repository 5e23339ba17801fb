"""What a figure was measured on."""

from keras_warn.training import runs


def machine_and_versions():
    """Processor, cores, versions and date, as a line."""
    found = runs.environment()
    return (
        f"{found['cpu']}, {found['cores']} cores, "
        f"{found['backend']} {found[found['backend']]}, "
        f"Keras {found['keras']}, {found['date'][:10]}"
    )
