"""Parts of the package that are imported when they are first asked for."""

import importlib
import sys
import types


def import_later(package, names, modules):
    """The `__getattr__` and `__dir__` of a package that imports parts later.

    A name may be that of its own module, such as the function `report` in
    `report.py`: it is the function, whoever has imported the module before.

    Args:
        package: The name of the package, whose `__init__.py` calls this.
        names: Mapping from names that the package has to the modules in it
            that define them.
        modules: Names of modules that are there after `import package`.

    Returns:
        The functions `__getattr__` and `__dir__`, for the package to have
        under these names (PEP 562).
    """
    found = sys.modules[package]

    class Package(types.ModuleType):
        def __setattr__(self, name, value):
            # How the import of a module tells its package.
            if name in names and isinstance(value, types.ModuleType):
                return
            super().__setattr__(name, value)

    found.__class__ = Package

    def module_getattr(name):
        if name in names:
            module = importlib.import_module(f"{package}.{names[name]}")
            value = getattr(module, name)
        elif name in modules:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}",
                name=name,
                obj=found,
            )
        setattr(found, name, value)
        return value

    def module_dir():
        return sorted({*vars(found), *names, *modules})

    return module_getattr, module_dir
