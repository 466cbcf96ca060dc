"""How Sphinx builds the site: `make docs`."""

import re
from textwrap import indent

from keras_share import __version__

project = "keras-share"
release = __version__
html_theme = "furo"
html_title = "keras-share"
html_show_copyright = False

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_heading_anchors = 3
autodoc_typehints = "none"  # signatures say what, docstrings what it means
autodoc_member_order = "bysource"
napoleon_custom_sections = [("Call arguments", "params_style")]
exclude_patterns = ["build"]
default_role = "code"  # docstrings have single backticks, as Keras's


def setup(app):
    """Docstrings have examples without indentation and fences, as Keras's."""
    app.connect("autodoc-process-docstring", _in_restructured_text, priority=100)


def _in_restructured_text(app, what, name, obj, options, lines):
    text = "\n".join(lines)
    text = re.sub(r"^Example:$", ".. rubric:: Example\n", text, flags=re.M)
    text = re.sub(
        r"^```python\n(.*?)^```$",
        lambda fence: ".. code-block:: python\n\n" + indent(fence[1], "   "),
        text,
        flags=re.M | re.S,
    )
    lines[:] = text.split("\n")
