"""Axes in the style of `keras_warn.reporting.figures`."""

from keras_warn.reporting.figures import FONT


def label(axes, x_label="", y_label="", title="", grid="both"):
    axes.set_title(title, size=FONT + 2)
    axes.set_xlabel(x_label, size=FONT + 2)
    axes.set_ylabel(y_label, size=FONT + 2)
    axes.tick_params(labelsize=FONT + 1)
    axes.grid(axis=grid, alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
