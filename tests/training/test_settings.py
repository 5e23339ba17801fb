"""What a training is set to, and how the command line says otherwise."""

import argparse
import dataclasses
import json
import re

import pytest

from keras_warn.training import Settings
from keras_warn.training import settings


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


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("backbone", 3, TypeError),
        ("weights", None, TypeError),
        ("preprocessing", "vgg", ValueError),
        ("attention", "depth=2", TypeError),
        ("image_size", 0, ValueError),
        ("image_size", 224.0, TypeError),
        ("resize_shorter_edge", -1, ValueError),
        ("resize_shorter_edge", 223, ValueError),
        ("epochs", 0, ValueError),
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
        ("patience", 0, ValueError),
        ("patience", True, TypeError),
    ],
)
def test_a_bad_value_names_itself(name, value, error):
    with pytest.raises(error, match=f"`{name}` .*{name}={value!r}"):
        Settings(**{name: value})


def test_all_settings_are_among_those_that_are_checked():
    """A new one must be put into the test above."""
    (mark,) = test_a_bad_value_names_itself.pytestmark
    checked = {name for name, _, _ in mark.args[1]}
    assert checked == {field.name for field in dataclasses.fields(Settings)}


def test_patience_needs_validation():
    with pytest.raises(ValueError, match="`patience` needs validation"):
        Settings(patience=3, validation_share=0)
    assert Settings(validation_share=0).patience is None


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


def test_every_setting_has_an_option():
    examples = {
        int: ("7", 7),
        float: ("0.5", 0.5),
        str: ("sgd", "sgd"),
        bool: (None, True),
    }
    for field in dataclasses.fields(Settings):
        option = "--" + field.name.replace("_", "-")
        parser = argparse.ArgumentParser()
        settings.add_arguments(parser, Settings())
        text, value = examples.get(field.type, ("7", "7"))
        if field.name == "attention":
            text, value = "depth=7", [("depth", 7)]
        if field.name == "patience":
            value = 7
        found = parser.parse_args([option] + [text] * (text is not None))
        assert getattr(found, field.name) == value
        assert type(getattr(found, field.name)) is type(value)


def test_options_say_otherwise_than_the_recipe():
    recipe = Settings(epochs=30, batch_size=32, patience=5, ema=0.9)
    assert parsed("", recipe) == recipe
    found = parsed(
        "--epochs 7 --learning-rate 0.02 --no-freeze-batch-norm "
        "--backbone MobileNetV2(alpha=0.35) --ema 0",
        recipe,
    )
    assert found == dataclasses.replace(
        recipe,
        epochs=7,
        learning_rate=0.02,
        freeze_batch_norm=False,
        backbone="MobileNetV2(alpha=0.35)",
        ema=0.0,
    )


def test_a_recipe_with_patience_may_be_run_without():
    """On all images that there are to train with."""
    recipe = Settings(patience=5)
    found = parsed("--patience none --validation-share 0", recipe)
    assert found.patience is None
    assert parsed("--patience 7", recipe).patience == 7


def test_attention_of_the_command_line_is_put_into_the_recipes():
    recipe = Settings(attention={"depth": 3, "width": 4})
    found = parsed(
        "--attention depth=2 gates=sigmoid diversity_weight=0.5", recipe
    )
    assert found.attention == {
        "depth": 2,
        "width": 4,
        "gates": "sigmoid",
        "diversity_weight": 0.5,
    }
    assert recipe.attention == {"depth": 3, "width": 4}
    found = parsed("--attention attend_at=[-1,-2]", Settings(attention=None))
    assert found.attention == {"attend_at": [-1, -2]}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--attention depth", "argument --attention: must be NAME=VALUE"),
        ("--attention 2=depth", "argument --attention: must be NAME=VALUE"),
        ("--epochs many", "argument --epochs: invalid int value: 'many'"),
        ("--patience never", "argument --patience: must be an integer, or no"),
        (f"--attention width={'-' * 100_000}1", "width with 100001."),
    ],
)
def test_wrong_options(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parsed(arguments, Settings())
    assert message in capsys.readouterr().err


def test_help_says_all_defaults():
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser, Settings(attention={"depth": 3, "width": 4}))
    text = " ".join(parser.format_help().split())
    for field in dataclasses.fields(Settings):
        assert "--" + field.name.replace("_", "-") in text
    count = text.count("(default: ")
    # That of attention stands as it would be written.
    assert count == len(dataclasses.fields(Settings)) - 1
    assert "instead of: depth=3 width=4" in text


def test_baseline():
    assert dataclasses.replace(Settings(), attention=None).baseline


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


def test_identity_has_all_settings():
    identity = Settings().identity()
    assert identity.keys() == {f.name for f in dataclasses.fields(Settings)}
    assert identity["weights"] == "imagenet"
    assert identity != Settings(cutmix=0.5).identity()


@pytest.mark.parametrize("name", ["dept", "classifier_activation", "classes"])
def test_attention_has_arguments_of_augment(name):
    with pytest.raises(
        ValueError,
        match=f"arguments of keras_warn.augment: depth, .*Received: '{name}'",
    ):
        Settings(attention={name: 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width=100000", "Received: width=100000."),
        ("kernel_size=1e999", "Received: kernel_size=inf."),
        ("attend_at=[1,-1e999]", "Received: attend_at=-inf."),
        (f"width={'9' * 999}", "Received: width=999"),
        ("width=2j", "Received: width=2j."),
        ("width={1}", "Received: width={1}."),
        ("kernel_initializer={'seed':1e99}", "Received: seed=1e+99."),
    ],
)
def test_attention_is_plain_and_sane(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Settings(attention=dict([settings.named_value(text)]))


def test_initializers_may_have_a_seed():
    initializer = {"class_name": "HeNormal", "config": {"seed": 123456}}
    attention = {"kernel_initializer": initializer}
    assert Settings(attention=attention).attention == attention


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_size", 10**5), ("resize_shorter_edge", 10**5), ("epochs", 10**9)],
)
def test_what_no_machine_could_hold(name, value):
    with pytest.raises(ValueError, match=f"`{name}` .*{name}={value}"):
        Settings(**{name: value})
