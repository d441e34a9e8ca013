"""The `foreshock` command, one verb a module."""

import logging

# Beam says at every start that Google's client is not installed, on the root logger.
logging.root.addFilter(lambda record: "apitools" not in record.getMessage())
