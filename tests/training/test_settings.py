"""What a training is set to, and how the command line says otherwise."""

import argparse
import dataclasses
import json

import pytest

from keras_warn.training import Settings
from keras_warn.training import settings

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def parsed(arguments, defaults):
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser, defaults)
    return settings.from_arguments(
        parser.parse_args(arguments.split()), defaults
    )


def test_defaults_are_those_of_the_paper():
    s = Settings()
    assert (s.learning_rate, s.attention_factor) == (1e-3, 10)
    assert (s.epochs, s.batch_size) == (100, 64)
    assert (s.schedule, s.decay_every) == ("steps", 30)
    assert (s.image_size, s.resize_shorter_edge) == (224, 256)
    assert not s.baseline
    assert dataclasses.replace(s, attention=None).baseline


# A value of each setting that it cannot have.
WRONG = [
    ("backbone", 3, TypeError),
    ("weights", None, TypeError),
    ("preprocessing", "vgg", ValueError),
    ("attention", "depth=2", TypeError),
    ("image_size", 10**5, ValueError),
    ("resize_shorter_edge", 223, ValueError),
    ("epochs", 0, ValueError),
    ("batch_size", 2.5, TypeError),
    ("optimizer", "momentum", ValueError),
    ("learning_rate", "0.1", TypeError),
    ("learning_rate", 0, ValueError),
    ("attention_factor", -1, ValueError),
    ("weight_decay", float("inf"), ValueError),
    ("schedule", "linear", ValueError),
    ("decay_every", 0, ValueError),
    ("warmup", 101, ValueError),
    ("label_smoothing", 1, ValueError),
    ("mixup", 1.5, ValueError),
    ("cutmix", -0.1, ValueError),
    ("ema", 1.0, ValueError),
    ("freeze_batch_norm", 1, TypeError),
    ("precision", "float16", ValueError),
    ("validation_share", 1.0, ValueError),
    ("frozen_views", -1, ValueError),
    ("features_limit", -1.0, ValueError),
    ("patience", True, TypeError),
]


@pytest.mark.parametrize("name, value, error", WRONG)
def test_a_bad_value_names_itself(name, value, error):
    with pytest.raises(error, match=f"`{name}` .*{name}={value!r}"):
        Settings(**{name: value})


def test_all_settings_are_among_those_that_are_checked():
    """A new one must be put into the table above."""
    assert {name for name, _, _ in WRONG} == FIELDS.keys()


@pytest.mark.parametrize(
    "values, message",
    [
        ({"patience": 3, "validation_share": 0}, "`patience` needs validation"),
        ({"frozen_views": 2, "mixup": 0.2}, "must be 0 with `frozen_views`"),
        (
            {"attention": {"classes": 3}},
            "arguments of keras_warn.augment: preset, .*Received: 'classes'",
        ),
    ],
)
def test_settings_that_contradict_others(values, message):
    with pytest.raises(ValueError, match=message):
        Settings(**values)


RECIPE = Settings(
    epochs=30, patience=5, ema=0.9, attention={"depth": 3, "width": 4}
)
# An option of each kind, and what it says.
OPTIONS = {
    "--backbone MobileNetV2(alpha=0.35)": {
        "backbone": "MobileNetV2(alpha=0.35)"
    },
    # Not the word of those that may be without a value.
    "--weights none --preprocessing none": {
        "weights": "none",
        "preprocessing": "none",
    },
    "--attention preset=paper depth=2 gates=sigmoid attend_at=[-1,-2]": {
        "attention": {
            "depth": 2,
            "width": 4,
            "preset": "paper",
            "gates": "sigmoid",
            "attend_at": [-1, -2],
        }
    },
    "--epochs 7 --warmup 7": {"epochs": 7, "warmup": 7.0},
    "--no-freeze-batch-norm --ema 0": {"freeze_batch_norm": False, "ema": 0.0},
    "--features-limit 7 --patience 7": {"features_limit": 7.0, "patience": 7},
    # A recipe with patience may be run on all images that there are.
    "--patience none --validation-share 0": {
        "patience": None,
        "validation_share": 0.0,
    },
}


@pytest.mark.parametrize("arguments", OPTIONS)
def test_options_say_otherwise_than_the_recipe(arguments):
    """To the type: settings that are the same are the same in JSON."""
    assert parsed("", RECIPE) == RECIPE
    expected = dataclasses.replace(RECIPE, **OPTIONS[arguments])
    found = parsed(arguments, RECIPE)
    assert json.dumps(vars(found)) == json.dumps(vars(expected))
    assert RECIPE.attention == {"depth": 3, "width": 4}


def test_attention_for_a_recipe_without():
    found = parsed("--attention depth=2", Settings(attention=None))
    assert found.attention == {"depth": 2}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--attention depth", "argument --attention: must be NAME=VALUE"),
        ("--attention 2=depth", "argument --attention: must be NAME=VALUE"),
        ("--patience never", "argument --patience: invalid int value: 'n"),
    ],
)
def test_wrong_options(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parsed(arguments, Settings())
    assert message in capsys.readouterr().err


def test_help_says_all_defaults():
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser, RECIPE)
    text = " ".join(parser.format_help().split())
    assert text.count("(default: ") == len(FIELDS)
    assert "(default: depth=3 width=4)" in text
    # "none" is something else: no preprocessing.
    assert "or a module of keras.applications (default: its own)" in text


@pytest.mark.parametrize("name", ["weights", "backbone"])
def test_identity_has_files_by_their_content(name, tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my.keras").write_bytes(b"one")
    here, there = (
        Settings(**{name: tmp_path / folder / "my.keras"})
        for folder in ("here", "there")
    )
    assert here.identity() == there.identity()
    assert str(tmp_path) not in json.dumps(here.identity())
    (tmp_path / "there" / "my.keras").write_bytes(b"two")
    assert here.identity() != there.identity()
    # A run resumes with another limit, too.
    assert here.identity().keys() == FIELDS.keys() - {"features_limit"}
