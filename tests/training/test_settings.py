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


WRONG = [
    ("backbone", 3, TypeError),
    ("weights", None, TypeError),
    ("preprocessing", "vgg", ValueError),
    ("attention", "depth=2", TypeError),
    ("image_size", 0, ValueError),
    ("image_size", 224.0, TypeError),
    ("image_size", 10**5, ValueError),
    ("resize_shorter_edge", -1, ValueError),
    ("resize_shorter_edge", 223, ValueError),
    ("epochs", 0, ValueError),
    ("epochs", 10**9, ValueError),
    ("batch_size", 2.5, TypeError),
    ("optimizer", "momentum", ValueError),
    ("learning_rate", 0, ValueError),
    ("learning_rate", float("nan"), ValueError),
    ("learning_rate", "0.1", TypeError),
    ("attention_factor", -1, ValueError),
    ("weight_decay", float("inf"), ValueError),
    ("schedule", "linear", ValueError),
    ("decay_every", 0, ValueError),
    ("warmup", -1, ValueError),
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
    ("patience", 0, ValueError),
    ("patience", True, TypeError),
]


@pytest.mark.parametrize("name, value, error", WRONG)
def test_a_bad_value_names_itself(name, value, error):
    with pytest.raises(error, match=f"`{name}` .*{name}={value!r}"):
        Settings(**{name: value})


def test_all_settings_are_among_those_that_are_checked():
    """A new one must be put into the table above."""
    assert {name for name, _, _ in WRONG} == FIELDS.keys()


def test_settings_that_contradict_each_other():
    with pytest.raises(ValueError, match="`patience` needs validation"):
        Settings(patience=3, validation_share=0)
    with pytest.raises(ValueError, match="must be 0 with `frozen_views`"):
        Settings(frozen_views=2, mixup=0.2)


def test_numbers_are_kept_as_one_type():
    """For settings that are the same to be the same in JSON, too."""
    same = Settings(learning_rate=1, attention_factor=10)
    assert json.dumps(same.identity()) == json.dumps(
        Settings(learning_rate=1.0, attention_factor=10.0).identity()
    )


def test_default_dictionaries_are_not_shared():
    first, second = Settings(), Settings()
    first.attention["depth"] = 2
    assert second.attention == {}


RECIPE = Settings(
    epochs=30, patience=5, ema=0.9, attention={"depth": 3, "width": 4}
)
# An option for each setting, and what it says.
OPTIONS = {
    "--backbone MobileNetV2(alpha=0.35)": {
        "backbone": "MobileNetV2(alpha=0.35)"
    },
    "--weights none": {"weights": "none"},
    "--preprocessing none": {"preprocessing": "none"},
    "--attention preset=paper depth=2 gates=sigmoid diversity_weight=0.5": {
        "attention": {
            "depth": 2,
            "width": 4,
            "preset": "paper",
            "gates": "sigmoid",
            "diversity_weight": 0.5,
        }
    },
    "--image-size 7": {"image_size": 7},
    "--resize-shorter-edge 777": {"resize_shorter_edge": 777},
    "--epochs 7": {"epochs": 7},
    "--batch-size 7": {"batch_size": 7},
    "--optimizer adam": {"optimizer": "adam"},
    "--learning-rate 1": {"learning_rate": 1.0},
    "--attention-factor 1": {"attention_factor": 1.0},
    "--weight-decay 0.5": {"weight_decay": 0.5},
    "--schedule cosine": {"schedule": "cosine"},
    "--decay-every 7": {"decay_every": 7},
    "--warmup 7": {"warmup": 7.0},
    "--label-smoothing 0.5": {"label_smoothing": 0.5},
    "--mixup 0.5": {"mixup": 0.5},
    "--cutmix 0.5": {"cutmix": 0.5},
    "--ema 0": {"ema": 0.0},
    "--no-freeze-batch-norm": {"freeze_batch_norm": False},
    "--frozen-views 7": {"frozen_views": 7},
    "--features-limit 7": {"features_limit": 7.0},
    "--features-limit none": {"features_limit": None},
    "--precision mixed_float16": {"precision": "mixed_float16"},
    # A recipe with patience may be run on all images that there are.
    "--patience none --validation-share 0": {
        "patience": None,
        "validation_share": 0.0,
    },
}


def test_options_say_otherwise_than_the_recipe():
    assert parsed("", RECIPE) == RECIPE
    assert set().union(*OPTIONS.values()) == FIELDS.keys()
    for arguments, changes in OPTIONS.items():
        expected = dataclasses.replace(RECIPE, **changes)
        found = parsed(arguments, RECIPE)
        found, expected = map(dataclasses.asdict, (found, expected))
        assert json.dumps(found) == json.dumps(expected)
    assert parsed("--patience 7", RECIPE).patience == 7
    assert RECIPE.attention == {"depth": 3, "width": 4}
    found = parsed("--attention attend_at=[-1,-2]", Settings(attention=None))
    assert found.attention == {"attend_at": [-1, -2]}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--attention depth", "argument --attention: must be NAME=VALUE"),
        ("--attention 2=depth", "argument --attention: must be NAME=VALUE"),
        ("--epochs many", "argument --epochs: invalid int value: 'many'"),
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


@pytest.mark.parametrize("name", ["dept", "classifier_activation", "classes"])
def test_attention_has_arguments_of_augment(name):
    with pytest.raises(
        ValueError,
        match=f"arguments of keras_warn.augment: preset, .*Received: '{name}'",
    ):
        Settings(attention={name: 3})


def test_initializers_may_have_a_seed():
    initializer = {"class_name": "HeNormal", "config": {"seed": 123456}}
    attention = {"kernel_initializer": initializer}
    assert Settings(attention=attention).attention == attention
