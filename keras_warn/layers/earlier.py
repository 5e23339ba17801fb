"""Configs that earlier versions saved."""


def renamed(config, **names) -> dict:
    """A copy of a config, its arguments named as they are now.

    Args:
        config: Dictionary, as a file holds it.
        **names: For what it was called in them, what it is called now.
    """
    return {names.get(name, name): value for name, value in config.items()}
