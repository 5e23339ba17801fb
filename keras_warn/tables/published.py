"""The figures of the paper, and the data that they are of."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Published:
    """A data set as the paper used it.

    Attributes:
        title: What the paper's tables call it.
        name: How its name begins in results.
        classes: Number of classes.
        training: Number of images to train with, a validation part included;
            `None` if there is no published split.
        test: Number of images of the test set, or `None`.
        folds: Whether the paper measures by cross-validation.
    """

    title: str
    name: str
    classes: int
    training: int | None = None
    test: int | None = None
    folds: bool = False

    def reasons_against(self, data, folds):
        """Why results must not stand beside the paper's.

        Args:
            data: Dictionary, what results say of their data.
            folds: Whether they are cross-validated.

        Returns:
            A string, or `None` if they may.
        """
        if data["classes"] != self.classes:
            return f"{data['classes']} of {self.classes} classes"
        reasons = []
        if not data["name"].casefold().startswith(self.name.casefold()):
            reasons.append(f"the data are {data['name']}, not {self.name}")
        if self.folds and not folds:
            reasons.append("not cross-validated")
        training = data.get("training")
        if training is not None:
            training += data.get("validation") or 0
        for kind, number, wanted in (
            ("training", training, self.training),
            ("test", data.get("test"), self.test),
        ):
            if None not in (number, wanted) and number != wanted:
                reasons.append(f"{number:,} of {wanted:,} {kind} images")
        return ", ".join(reasons) or None


# In the order of the paper's columns.
PUBLISHED = {
    "stanford_dogs": Published("Dogs", "Stanford Dogs", 120, 12_000, 8_580),
    "uec_food100": Published("Food", "UEC Food", 100),
    "stanford_cars": Published("Cars", "Stanford Cars", 196, 8_144, 8_041),
    "adience_gender": Published("Gender", "Adience", 2, folds=True),
    "adience_age": Published("Age", "Adience", 8, folds=True),
    "cub200": Published("Birds", "CUB-200-2011", 200, 5_994, 5_794),
    "cifar10": Published("CIFAR-10", "CIFAR-10", 10, 50_000, 10_000),
    "cifar100": Published("CIFAR-100", "CIFAR-100", 100, 50_000, 10_000),
}

# Table 2 of the paper: errors (%) of WRN 40, WARN 28 and WARN 40, and their
# parameters in millions. It has no WRN 28.
TABLE_2 = {"cifar10": (3.80, 3.44, 3.46), "cifar100": (18.30, 18.26, 17.82)}
TABLE_2_PARAMETERS = (56, 37, 56)

# Table 3: accuracies (%) of WRN and WARN.
TABLE_3 = {
    "stanford_dogs": (89.6, 92.9),
    "uec_food100": (84.3, 85.5),
    "stanford_cars": (88.5, 90.0),
    "adience_gender": (93.9, 94.6),
    "adience_age": (57.4, 59.7),
    "cub200": (84.3, 85.6),
}

# Table 4: accuracy (%) of WRN per million of its parameters; what WARN adds to
# it per million of parameters that it adds.
TABLE_4 = {
    "stanford_dogs": (1.3, 6.9),
    "uec_food100": (1.2, 2.5),
    "stanford_cars": (1.3, 3.1),
    "adience_gender": (1.4, 1.5),
    "adience_age": (0.8, 4.0),
    "cub200": (1.2, 2.5),
}
TABLE_4_AVERAGE = (1.2, 3.4)
