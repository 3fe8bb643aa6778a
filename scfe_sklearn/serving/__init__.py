"""A local page on which one moves the features of a person and sees what the model predicts."""

from scfe_sklearn.serving.server import WhatIfServer, serve

__all__ = ["WhatIfServer", "serve"]
