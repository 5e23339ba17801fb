"""Images of your own: in folders, or listed in a table."""

import pytest
from PIL import Image

from keras_warn.data.image_folder import load_image_folder


def write(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (13, 17)).save(path)


def table(path, text):
    path.write_text(text, "utf-8")
    return path


def names(dataset, split):
    paths = dataset.split(split).paths
    return [f"{path.parent.name}/{path.name}" for path in paths]


BIRDS = ["wren/1.jpg", "wren/2.PNG", "finch/1.jpg", "finch/garden/3.webp"]


def test_folders_of_splits(tmp_path):
    write(tmp_path, [f"Training/{name}" for name in BIRDS])
    write(tmp_path, ["Val/wren/4.jpg", "test/wren/5.jpg", "test/finch/5.jpg"])
    birds = load_image_folder(tmp_path)
    assert birds.names == ("finch", "wren")
    assert list(birds.splits) == ["train", "validation", "test"]
    assert len(birds.split("train")) == 4
    assert names(birds, "validation") == ["wren/4.jpg"]
    assert names(birds, "test") == ["finch/5.jpg", "wren/5.jpg"]
    assert birds.split("test").labels.tolist() == [0, 1]
    # Test images are not to be validated with.
    with pytest.raises(ValueError, match="must not see test images"):
        birds.hold_out(0.2, seed=0)


def test_a_class_called_train(tmp_path):
    write(tmp_path / "Vögel 鳥", ["train/1.jpg", "bus/1.jpg"])
    images = load_image_folder(str(tmp_path / "Vögel 鳥"))
    assert images.name == "Vögel 鳥"
    assert images.names == ("bus", "train")
    assert list(images.splits) == ["train"] and len(images.split("train")) == 2


def test_what_is_skipped_is_said_and_counted(tmp_path):
    write(tmp_path, [*BIRDS, "@eaDir/wren/1.jpg", "wren/.2.jpg"])
    (tmp_path / "wren/3.heic").touch()
    with pytest.warns(UserWarning, match="1 @eaDir, 1 hidden, 1 .*heic"):
        birds = load_image_folder(tmp_path)
    assert birds.skipped == {"@eaDir": 1, "hidden": 1, "*.heic": 1}
    assert birds.without(birds.paths[:1]).skipped["cannot be read"] == 1


def test_an_image_found_twice_through_a_link(tmp_path):
    """It could be in two splits."""
    write(tmp_path, [f"train/{name}" for name in BIRDS])
    (tmp_path / "test").symlink_to(tmp_path / "train")
    with pytest.raises(
        ValueError, match="listed once.*train/finch.*test/finch"
    ):
        load_image_folder(tmp_path)


def test_a_table_with_splits(tmp_path):
    """Columns may be spelled in any way, and letters in both their forms."""
    write(tmp_path, BIRDS)
    text = (
        "Path , LABEL,Split\nwren/1.jpg,wren,train\nwren/2.PNG,wren,test\n"
        "finch/1.jpg,Fink Ä,train\nfinch/garden/3.webp,Fink A\u0308,val\n"
    )
    birds = load_image_folder(table(tmp_path / "my birds.csv", text))
    assert birds.name == "my birds"
    assert birds.names == ("Fink Ä", "wren")
    assert birds.labels.tolist() == [1, 1, 0, 0]
    assert names(birds, "train") == ["wren/1.jpg", "finch/1.jpg"]
    assert names(birds, "validation") == ["garden/3.webp"]
    assert names(birds, "test") == ["wren/2.PNG"]


@pytest.mark.parametrize(
    "lines, message",
    [
        (["wren/1.jpg,wren,tests"], "line 4: split must be one of .* 'tests'"),
        (["wren/1.jpg,wren,"], "line 4: split must be one of .* Received: ''"),
        (["wren/1.jpg,wren"], "line 4: split must be one of .* Received: ''"),
        (["wren/1.jpg,,test"], "line 4, has no label"),
        ([",wren,test"], "line 4, has no path"),
        (["a.jpg,wren,test"], "line 4: an image must .* line 2, too"),
        (["./x/../a.jpg,tit,test"], "line 4: an image must .* line 2, too"),
        (["wren/1.jpg,tit,test"], "to train with. .* 'tit', .* line 4.* test"),
    ],
)
def test_wrong_lines_are_named(tmp_path, lines, message):
    good = ["path,label,split", "a.jpg,wren,train", "b.jpg,finch,train"]
    path = table(tmp_path / "a.csv", "\n".join([*good, *lines]))
    write(tmp_path, ["a.jpg", "b.jpg", "wren/1.jpg"])
    with pytest.raises(ValueError, match=message):
        load_image_folder(path)


def test_a_table_without_any_image(tmp_path):
    text = "path,label\n1.jpg,wren\n2.jpg,finch\n"
    path = table(tmp_path / "a.csv", text)
    with pytest.raises(FileNotFoundError, match="none of the 2 that are liste"):
        load_image_folder(path)


def inside(folder):
    return [f"{folder}/{name}" for name in BIRDS]


@pytest.mark.parametrize(
    "names, message",
    [
        # Such as the folder above the one that was meant.
        (inside("my birds"), "4 images are of 'my birds'"),
        ([*inside("train"), "test/tit/1.jpg"], "'tit', of .* in test alone"),
        (inside("test"), "to train with. .* in test alone"),
        ([*inside("train"), "tit/1.jpg"], "train and, beside them, tit"),
    ],
)
def test_folders_that_are_not_what_was_meant(tmp_path, names, message):
    write(tmp_path, names)
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path)
