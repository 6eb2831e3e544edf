"""The book: pages, the three notebooks and the reference, built by Sphinx without a network."""

import ast
import inspect
import re
import textwrap
from importlib import metadata

from docutils import nodes
from docutils.utils.math import latex2mathml

project, author = "gajax", "The gajax authors"
copyright = author
release = metadata.version("gajax")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["build", "**.ipynb_checkpoints"]
default_role = "py:obj"  # names in single backticks link to the reference where they are in it
html_math_renderer = "mathml"
nb_mime_priority_overrides = [("html", "text/html", None)]  # lines of progress, as text
nb_execution_mode = "off"  # the notebooks hold the outputs of a whole run
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"  # neither prompts nor outputs

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_attr_annotations = False  # signatures have them
napoleon_custom_sections = [("Attributes", "params_style")]  # fields have no entries of their own

html_theme = "pydata_sphinx_theme"
html_title = "gajax"
html_theme_options = {
    "navbar_center": [],
    "navbar_persistent": ["search-button-field"],
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"**": ["contents"]}
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_show_sourcelink = False
html_copy_source = False


def setup(app):
    """Links from pages to the reference, formulas as MathML, annotations with their shapes."""
    app.connect("source-read", _link_names)
    app.connect("autodoc-process-signature", _with_shapes)
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_formula, None))


def _link_names(app, page, source):
    """Let `gajax.name` in the text of a page be a link; code blocks stay as they are."""
    if app.env.doc2path(page).suffix != ".md":
        return
    parts = re.split(r"(^ *```.*?^ *```)", source[0], flags=re.DOTALL | re.MULTILINE)
    name = re.compile(r"(?<![`}])`(gajax(\.\w+)+)`(?!`)")
    parts[::2] = [name.sub(r"{py:obj}`\1`", part) for part in parts[::2]]
    source[0] = "".join(parts)


def _with_shapes(app, kind, name, thing, options, signature, result):
    """The signature as the source has it, where annotations are short and name shapes."""
    is_record = kind == "class" and hasattr(thing, "_fields")
    if kind not in ("function", "method") and not is_record:
        return None
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))).body
    if is_record:
        return (
            f"({', '.join(ast.unparse(n) for n in node.body if isinstance(n, ast.AnnAssign))})",
            "",
        )
    if kind == "method":
        del node.args.args[0]
    texts = ast.unparse(node.args), ast.unparse(node.returns) if node.returns else ""
    signature, result = (re.sub(r"' (?=\w)", "'", text) for text in texts)
    return f"({signature})", result


def _inline_formula(translator, node):
    translator.body.append(latex2mathml.tex2mathml(node.astext()))
    raise nodes.SkipNode


def _formula(translator, node):
    formula = latex2mathml.tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="formula" tabindex="0">{formula}</div>')
    raise nodes.SkipNode
