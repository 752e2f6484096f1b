"""The engines Leat is measured beside.

One module measures each, and the small application it runs in its own environment is ``*_app`` beside it.
"""
