def page(search):
    return repr(search)
