"""Text in figures: fonts that have its letters, and lines that fit."""

import functools
import re
import warnings


class Lettering:
    """Fonts for some text in a size in points, and how wide it is in them.

    Attributes:
        families: Names of fonts: what `matplotlib.rcParams` says, and those
            that have what is missing there.
    """

    def __init__(self, text, size):
        import matplotlib
        from matplotlib import font_manager

        self.families = list(matplotlib.rcParams["font.family"])
        own = font_manager.findfont(
            font_manager.FontProperties(family=self.families),
            rebuild_if_missing=False,
        )
        self._font = font_manager.FontProperties(
            family=self.families, size=size
        )
        missing = {c for c in text if not c.isspace() and not _index(own, c)}
        if not missing:
            return
        fonts = [
            font
            for font in font_manager.fontManager.ttflist
            if (font.style, str(font.weight)) in _REGULAR
            # Which has a box for each letter there is.
            and not font.name.startswith("Last Resort")
        ]

        def found(font):
            return {c for c in missing if _index(font.fname, c)}

        while missing:
            best = max(fonts, key=lambda f: (len(found(f)), "Sans" in f.name))
            if not found(best):
                break
            missing -= found(best)
            self.families.append(best.name)
        self._font.set_family(self.families)
        if missing:
            named = ", ".join(f"{c} (U+{ord(c):04X})" for c in sorted(missing))
            warnings.warn(
                f"No installed font has {named}: boxes stand for them. Fonts "
                "that are installed now are found if the cache of matplotlib "
                "is deleted.",
                stacklevel=3,
            )

    def wrapped(self, text, width) -> str:
        """Text in lines of at most `width` inches, broken where it can be.

        Not at no-break spaces, which become spaces.
        """
        lines = []
        for line in text.split("\n"):
            lines.append("")
            for word in re.findall(r"[^ _/-]*[ _/-]?", line):
                if self._width(lines[-1] + word.rstrip(" ")) <= width:
                    lines[-1] += word
                    continue
                if lines[-1]:
                    lines.append("")
                for letter in word:  # of which one may be too long by itself
                    if self._width(lines[-1] + letter.rstrip(" ")) > width:
                        lines.append("")
                    lines[-1] += letter
        wrapped = "\n".join(line.strip(" ") for line in lines)
        return wrapped.replace("\u00a0", " ")

    def _width(self, text):
        """How wide a line is, in inches."""
        from matplotlib.textpath import text_to_path

        width, _, _ = text_to_path.get_text_width_height_descent(
            text, self._font, ismath=False
        )
        return width / 72


_REGULAR = (("normal", "400"), ("normal", "normal"), ("normal", "regular"))


@functools.cache
def _index(path, letter):
    """The number of a letter in a font, 0 if it has none."""
    from matplotlib import font_manager

    return font_manager.get_font(path).get_char_index(ord(letter))
