"""What an installed keras_warn must do, run where nothing else is.

    python tests/installed.py

`tests/test_release.py` runs this in new environments.
"""

import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

import keras_warn


def main():
    package = pathlib.Path(keras_warn.__file__).parent
    assert "site-packages" in package.parts, f"{package} is not installed"

    images = keras.Input((17, 13, 3))
    x = keras.layers.Conv2D(5, 3, activation="relu")(images)
    network = keras.Model(images, keras.layers.Conv2D(7, 3)(x))
    model = keras_warn.augment(network, classes=3, depth=1, width=2)
    model.compile("adam", "sparse_categorical_crossentropy")
    data = np.random.default_rng(0).uniform(size=(11, 17, 13, 3))
    labels = np.arange(11) % 3
    model.fit(data, labels, verbose=0)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model.save(folder / "model.keras")
        loaded = keras.models.load_model(folder / "model.keras")
        np.testing.assert_allclose(
            loaded.predict(data, verbose=0),
            model.predict(data, verbose=0),
            atol=1e-6,
        )
        # Reads the templates, which are data of the package.
        keras_warn.report(
            model, (data, labels), folder / "report.html", verbose=0
        )
        assert "</html>" in (folder / "report.html").read_text("utf-8")
        command = pathlib.Path(sys.executable).parent / "keras-warn"
        for arguments in (["--help"], ["summary", folder / "model.keras"]):
            said = subprocess.run(
                [command, *arguments],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
            assert "attention" in said, said
    print(f"keras_warn {keras_warn.__version__} on Python {sys.version}")


if __name__ == "__main__":
    main()
