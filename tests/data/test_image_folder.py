"""Images of your own: in class folders, or listed in a table."""

import unicodedata

import keras
import pytest

from keras_warn.data import load_image_folder
from keras_warn.data.image_files import ImageRecord
from keras_warn.data.image_files import class_numbers
from keras_warn.data.image_files import find_images
from keras_warn.data.image_files import list_images

BIRDS = ["wren/1.jpg", "wren/2.PNG", "finch/1.jpg", "finch/garden/3.webp"]


def tree(folder, *names):
    """A folder of files that only look like images: none is opened."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def inside(folder, *others):
    return [*(f"{folder}/{name}" for name in BIRDS), *others]


def names(dataset, split):
    paths = dataset.split(split).paths
    return [f"{path.parent.name}/{path.name}" for path in paths]


def test_folders_of_splits(tmp_path):
    tree(tmp_path, *inside("Training"), "Val/wren/4.jpg")
    tree(tmp_path, "test/wren/5.jpg", "test/finch/5.jpg")
    birds = load_image_folder(tmp_path)
    assert birds.names == ("finch", "wren")
    assert list(birds.splits) == ["train", "validation", "test"]
    assert len(birds.split("train")) == 4
    assert names(birds, "validation") == ["wren/4.jpg"]
    assert names(birds, "test") == ["finch/5.jpg", "wren/5.jpg"]
    assert birds.split("test").labels.tolist() == [0, 1]


def test_a_class_called_train(tmp_path):
    tree(tmp_path / "Vögel 鳥", "train/1.jpg", "bus/1.jpg")
    images = load_image_folder(str(tmp_path / "Vögel 鳥"))
    assert images.name == "Vögel 鳥"
    assert images.names == ("bus", "train")
    assert list(images.splits) == ["train"] and len(images.split("train")) == 2


@pytest.mark.parametrize(
    "name, split",
    [
        ("TRAIN", "train"),
        ("train_images", "train"),
        ("Test-Set", "test"),
        ("val2017", "validation"),
        ("trainval", None),
        ("terrain", None),
    ],
)
def test_splits_in_any_spelling(tmp_path, name, split):
    (found,), _ = find_images(tree(tmp_path, f"{name}/wren/1.png"))
    assert (found.label, found.split) == ("wren" if split else name, split)


@pytest.mark.parametrize(
    "names, message",
    [
        (["a.jpg"], "holds no folders"),
        (["wren/a.jpg", "finch/a.txt"], "class folder .*finch holds no images"),
        (["owl/1.png", "wren/a.heic"], r"wren holds no .* holds 1 \*.heic"),
        # Such as the folder above the one that was meant.
        (inside("my birds"), "4 images are of 'my birds'"),
        ([*inside("A"), *inside("B")], "folders A, B hold .*: finch, wren"),
        (inside("train", "test/tit/1.jpg"), "'tit', of .* in test alone"),
        (inside("train", "tit/1.jpg"), "train and, beside them, tit"),
        (["val/a/1.png", "valid/a/1.png"], "several for one: val, valid"),
    ],
)
def test_folders_that_are_not_what_was_meant(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        load_image_folder(tree(tmp_path, *names))


def test_folders_of_one_name_in_each_class(tmp_path):
    """Tiny ImageNet is stored so."""
    tree(tmp_path, "n01/images/1.png", "n02/images/1.png")
    assert load_image_folder(tmp_path).names == ("n01", "n02")


def test_what_is_skipped_is_counted_and_named(tmp_path):
    data = tree(tmp_path / "data", "readme.md", "loose.jpg", ".cache/x.png")
    tree(data, "@eaDir/x.png", "__MACOSX/wren/._a.png", "wren/a.png")
    tree(data, "wren/b.heic", "wren/c.heic", "wren/.DS_Store")
    tree(data, "wren/@eaDir/a.png", "wren/nested/d.png")
    # Links are followed, but not in a circle.
    (data / "owl").symlink_to(tree(tmp_path / "owl", "e.png"))
    (data / "wren/back").symlink_to(data)
    (data / "again").symlink_to(".")
    with pytest.warns(UserWarning, match=r"3 images .* 2 hidden.* 2 \*.heic"):
        birds = load_image_folder(data)
    assert [path.name for path in birds.paths] == ["e.png", "a.png", "d.png"]
    assert birds.skipped == {
        "hidden": 2,
        "@eaDir": 2,
        "__MACOSX": 1,
        "*.md": 1,
        "*.heic": 2,
        "image outside of folders": 1,
        "link to a folder that holds it": 2,
    }


def test_two_links_in_a_circle(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    paths, skipped = list_images(tmp_path)
    assert [path.name for path in paths] == ["1.png", "2.png", "2.png", "1.png"]
    assert skipped == {"link to a folder that holds it": 2}


def test_an_image_found_twice_through_a_link(tmp_path):
    """It could be in two splits."""
    tree(tmp_path, *inside("train"))
    (tmp_path / "test").symlink_to(tmp_path / "train")
    with pytest.raises(ValueError, match="listed once.*train/fin.*test/finch"):
        load_image_folder(tmp_path)


def test_a_table_with_splits(tmp_path):
    """As spreadsheets write it, letters in both their forms."""
    path = tree(tmp_path, *BIRDS) / "my birds.csv"
    lines = [
        "\ufeffPath , LABEL,date, Split",
        '"wren/1.jpg", "wren",3,train',
        f"{tmp_path}/wren/2.PNG, wren,4,test",
        "",
        "finch/1.jpg,Fink Ä,,train",
        "finch/garden/3.webp,Fink A\u0308,5,val",
    ]
    path.write_text("\n".join(lines), "utf-8", newline="\r\n")
    birds = load_image_folder(path)
    assert birds.name == "my birds"
    assert birds.names == ("Fink Ä", "wren")
    assert birds.paths == tuple(tmp_path / name for name in BIRDS)
    assert birds.labels.tolist() == [1, 1, 0, 0]
    assert names(birds, "train") == ["wren/1.jpg", "finch/1.jpg"]
    assert names(birds, "validation") == ["garden/3.webp"]
    assert names(birds, "test") == ["wren/2.PNG"]


HEAD = b"path,label,split\na.jpg,wren,train\n"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "lacks path and label"),
        (b"\xff\xd8\xff\xe0", "a.csv must be a folder of class .* not UTF-8"),
        (b"path,class\n1.jpg,wren\n", r"lacks label.*\['path', 'class'\]"),
        (b"path,label\n", "no lines but"),
        (HEAD + b"1.jpg,\xff\xfe,test\n", "not UTF-8"),
        (HEAD + b'"1.jpg"x,wren,test\n', "line 3, is not CSV"),
        (HEAD + b"b.jpg,,test", "line 3, has no label"),
        (HEAD + b" ,wren,test", "line 3, has no path"),
        (HEAD + b"b.jpg,wren,tests", "line 3: split must be .* 'tests'"),
        (HEAD + b"b.jpg,wren", "line 3: split must be one of .* Received: ''"),
        (HEAD + b"./x/../a.jpg,tit,test", "line 3: an .* once.* line 2, too"),
        (HEAD + b"b.jpg,tit,test", "to train with. .* 'tit', .* line 3.* test"),
        (HEAD + b"b.jpg,tit,train", "none of the 2 that are listed"),
    ],
)
def test_errors_of_tables(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises((OSError, ValueError), match=message) as caught:
        load_image_folder(path)
    assert str(path) in str(caught.value)


def labelled(*labels):
    """Images of these labels."""
    return [
        ImageRecord(f"{i}.jpg", label, f"a.csv, line {i}")
        for i, label in enumerate(labels)
    ]


KAKAPO = [unicodedata.normalize(form, "Kakapō") for form in ("NFC", "NFD")]


@pytest.mark.parametrize(
    "labels, names, expected",
    [
        (["2", "0", "2"], None, [2, 0, 2]),
        (["owl", "0"], ["wren", "finch", "owl"], [2, 0]),
        # A name that is a number, too, is a name.
        (["1", "2"], ["2", "1", "owl"], [1, 0]),
        (KAKAPO, ["wren", "finch", KAKAPO[0]], [2, 2]),
        (KAKAPO, ["wren", "finch", KAKAPO[1]], [2, 2]),
    ],
)
def test_labels_are_names_or_numbers(labels, names, expected):
    numbers, same = class_numbers(labelled(*labels), 3, names)
    assert numbers.tolist() == expected and same is names


@pytest.mark.parametrize(
    "labels, names, message",
    [
        (["0", "3"], None, r"'3' of 1.jpg \(.*line 1\) .* 0 to 2"),
        (["-1"], None, r"1 different label \("),
        (["wren", "owl"], None, r"2 different labels \('owl', 'wren'\) for"),
        (["wrn"], ["wren", "finch", "owl"], "'wrn' of 0.jpg.*3 names"),
        (["owl"], ["owl", "owl", "wren"], "name of 2 classes"),
    ],
)
def test_labels_outside_the_classes(labels, names, message):
    with pytest.raises(ValueError, match=message):
        class_numbers(labelled(*labels), 3, names)


def test_folders_are_numbered_as_keras_numbers_them(tmp_path):
    """0, 1, 10, 11, 2: by alphabet, also where all names are numbers."""
    for i in range(12):
        tree(tmp_path, f"{i}/a.png")
    expected = keras.utils.image_dataset_from_directory(
        tmp_path, shuffle=False, verbose=0
    )
    found, _ = find_images(tmp_path)
    numbers, names = class_numbers(found, 12, folders=True)
    assert names == expected.class_names
    assert names[2] == found[2].label == "10"
    assert numbers.tolist() == list(range(12))
    # Either order could be meant beside other names; in a table, numbers are.
    birds = [f"bird {i}" for i in range(12)]
    with pytest.raises(ValueError, match="0, 1, 10, .*bird 0, bird 1"):
        class_numbers(found, 12, birds, folders=True)
    few = [one for one in found if int(one.label) < 9]
    for some, folders in ((found, False), (few, True)):
        numbers, _ = class_numbers(some, 12, birds, folders)
        assert numbers.tolist() == [int(one.label) for one in some]
