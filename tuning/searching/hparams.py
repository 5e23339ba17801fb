def describe(folder, space):
    pass


def begin(folder, values, name):
    pass


def end(folder, record):
    pass
