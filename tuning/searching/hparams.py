"""What TensorBoard's HParams page shows of a search, a row a trial.

Of the experiment, `describe` says in the folder of all logs what is searched
and measured. Of each trial, `begin` and `end` say in a folder of its own what
was tried and how it ended; curves come from the training, by
`keras_warn.training.TensorBoardHistory` in the same folder. TensorFlow is not
needed.
"""

from keras_warn.event_files import EventFile

# Of the files here, whose folders others write to, too.
SUFFIX = ".hparams"

# What a column shows, the last value of a curve, and what it is called.
METRICS = {
    "validation/accuracy": "validation accuracy",
    "validation/loss": "validation loss",
    "cost/operations_added_percent": "operations added (%)",
    "cost/parameters_added": "parameters added",
    "cost/latency_added_percent": "latency added (%)",
}

STATUSES = {"completed": "STATUS_SUCCESS", "failed": "STATUS_FAILURE"}


def describe(folder, space, metrics=None):
    """Says what is searched, and what is measured.

    What was said before in this folder is replaced.

    Args:
        folder: The folder of all logs, in which each trial has its own.
        space: Dictionary of hyperparameters by their names: a list of values,
            which are all numbers, all booleans or all strings, or a pair
            `(lowest, highest)` of numbers between which all may be tried.
        metrics: Dictionary of curves by their tags, and what they are called.
            Defaults to `METRICS`.

    Raises:
        ImportError: if tensorboard is not installed.
        OSError: if the folder cannot be written to.
        TypeError: if a value has another type than another one beside it, or
            one that TensorBoard does not know.
        ValueError: if a hyperparameter has no values, or a tuple of others
            than two.
    """
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams import metadata

    experiment = api_pb2.Experiment(
        hparam_infos=[_info(name, of) for name, of in space.items()],
        metric_infos=[
            api_pb2.MetricInfo(
                name=api_pb2.MetricName(tag=tag), display_name=name
            )
            for tag, name in (METRICS if metrics is None else metrics).items()
        ],
    )
    summary = _summary(metadata.EXPERIMENT_TAG, experiment=experiment)
    _write(folder, summary)


def begin(folder, values, name):
    """Says that a trial begins, or begins again, before its training.

    What was said of it before is replaced: the page shows each trial once, and
    with an unknown end until it ends. Curves stay.

    Args:
        folder: The folder of this trial, in that of all logs.
        values: Dictionary of the hyperparameters that are active in it.
        name: What the trial is called.

    Raises:
        ImportError: if tensorboard is not installed.
        OSError: if the folder cannot be written to.
        TypeError: if a value has a type that TensorBoard does not know.
    """
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams import plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(group_name=str(name))
    for key, value in values.items():
        setattr(start.hparams[key], f"{_kind(key, value)}_value", value)
    _write(
        folder,
        _summary(metadata.SESSION_START_INFO_TAG, session_start_info=start),
    )


def end(folder, status, cost=None):
    """Says how a trial ended, after its training.

    Args:
        folder: As of `begin`.
        status: `"completed"` or `"failed"`.
        cost: What attention adds in this trial, or `None`: a dictionary with
            `parameters`, a number, and `operations_added` and
            `latency_added`, shares of the network alone, the latter `None` if
            it was not measured.

    Raises:
        ImportError: if tensorboard is not installed.
        OSError: if the folder cannot be written to.
        ValueError: if `status` is another.
    """
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams import plugin_data_pb2

    if status not in STATUSES:
        raise ValueError(
            f"`status` must be one of {', '.join(map(repr, STATUSES))}. "
            f"Received: status={status!r}."
        )
    info = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.Status.Value(STATUSES[status])
    )
    file = EventFile(folder, SUFFIX)
    for tag, value in _costs(cost or {}).items():
        file.scalar(tag, 0, value)
    file.summary(_summary(metadata.SESSION_END_INFO_TAG, session_end_info=info))
    file.close()


def _costs(cost):
    """Curves of a single value, of those that are known."""
    found = {"cost/parameters_added": cost.get("parameters")}
    for name in ("operations", "latency"):
        share = cost.get(f"{name}_added")
        tag = f"cost/{name}_added_percent"
        found[tag] = None if share is None else 100 * share
    return {tag: value for tag, value in found.items() if value is not None}


def _info(name, values):
    """What TensorBoard knows of a hyperparameter beforehand."""
    from tensorboard.plugins.hparams import api_pb2

    if not len(values):
        raise ValueError(
            "`space` must have values of each hyperparameter. Received: "
            f"space[{name!r}]={values!r}."
        )
    kinds = {_kind(name, value) for value in values}
    if len(kinds) > 1:
        raise TypeError(
            "`space` must have values of one type of each hyperparameter. "
            f"Received: space[{name!r}]={values!r}."
        )
    (kind,) = kinds
    info = api_pb2.HParamInfo(
        name=name,
        type={
            "number": api_pb2.DATA_TYPE_FLOAT64,
            "bool": api_pb2.DATA_TYPE_BOOL,
            "string": api_pb2.DATA_TYPE_STRING,
        }[kind],
        # Columns of what never differs are not shown at first.
        differs=len(set(values)) > 1,
    )
    if isinstance(values, tuple):
        if (kind, len(values)) != ("number", 2):
            raise ValueError(
                "`space` must have lists of values, or pairs of numbers as "
                f"tuples. Received: space[{name!r}]={values!r}."
            )
        info.domain_interval.min_value, info.domain_interval.max_value = values
    else:
        info.domain_discrete.extend(values)
    return info


def _kind(name, value):
    # Booleans first: they are integers, too.
    for kind, types in (
        ("bool", bool),
        ("number", (int, float)),
        ("string", str),
    ):
        if isinstance(value, types):
            return kind
    raise TypeError(
        "Hyperparameters must be booleans, integers, floats or strings. "
        f"Received: {name}={value!r}."
    )


def _summary(tag, **content):
    """What this plugin reads is in the description of a value, not in it."""
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams import plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData(**content)
    summary = summary_pb2.Summary()
    summary.value.add(
        tag=tag,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return summary


def _write(folder, summary):
    """Writes what takes the place of all that was written here before.

    TensorBoard keeps to the first that it reads of a tag: what was said of a
    trial that was killed would hide how it ended.
    """
    file = EventFile(folder, SUFFIX)
    file.summary(summary)
    file.flush()
    file.drop_steps(0)
    file.close()
