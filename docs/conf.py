"""How the documentation is built: ``python -m sphinx -W -b html docs docs/_build/html``.

The examples are run, which takes about two minutes and gives the gallery its pictures.
``SCFE_RUN_EXAMPLES=0`` leaves them out.
"""

import os
import re
from pathlib import Path

import matplotlib
from docutils.nodes import SkipNode
from latex2mathml.converter import convert

matplotlib.use("Agg")

import scfe_sklearn

ROOT = Path(__file__).resolve().parent.parent

project = "scfe_sklearn"
author = "The scfe_sklearn developers"
copyright = author
release = version = scfe_sklearn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates", "images", "gallery/**/*.py", "gallery/**/*.ipynb"]
templates_path = ["_templates"]
default_role = "code"  # `name` in a docstring is code, as on the pages
nitpicky = False

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc says the types in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template of a class lists its methods
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": [str(ROOT / "examples")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/plot_",
    "plot_gallery": os.environ.get("SCFE_RUN_EXAMPLES", "1") != "0",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 10**6,
    "show_signature": False,
    "write_computation_times": False,  # its page asks other hosts
}

html_theme = "furo"
# Lines of code of 95 characters fit into the column of the text.
html_theme_options = {
    theme: {"code-font-size": "76%"} for theme in ("light_css_variables", "dark_css_variables")
}
html_math_renderer = "mathml"  # browsers draw it themselves: no script from another host
html_title = f"scfe_sklearn {version}"
html_show_sourcelink = False
html_copy_source = False


def _skip_requests(app, what, name, obj, skip, options):
    """Leave out scikit-learn's metadata routing, whose words refer to its own manual."""
    return True if name.endswith("_request") or name == "get_metadata_routing" else None


def _mathml(node, display):
    # A function's name needs a space where no bracket follows.
    return convert(re.sub(r"\\log(?=\s*[a-z\\])", r"\\log\\,", node.astext()), display=display)


def _inline(translator, node):
    translator.body.append(_mathml(node, "inline"))
    raise SkipNode


def _block(translator, node):
    style = "overflow-x: auto; overflow-y: hidden; padding: 0.5em 0"
    translator.body.append(f'<div style="{style}">{_mathml(node, "block")}</div>')
    raise SkipNode


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-skip-member", _skip_requests)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True}
