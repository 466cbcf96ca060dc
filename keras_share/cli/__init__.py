"""The command line, `keras-share`: one module for each of its commands."""
