"""The pages, one module for each kind; all they do and say asks `access` first."""
