"""An architecture as a folder that stands alone: the tree, readable source, weights, a guide.

`definitions` gathers the source of the layers that a network uses; `layout` writes expressions as
lines; `source` makes `model.py` from both; `weights` and `guide` make the other files; `folder`
writes all of it at once or not at all, and reads it back.
"""

from nas.export.errors import ExportError
from nas.export.folder import export, load, read_architecture
from nas.export.source import module_source

__all__ = ["ExportError", "export", "load", "module_source", "read_architecture"]
