"""Pictures of workflows: a plan becomes a `picture`, and each format draws that. Pure.

A format takes a picture and returns text. `layers` knows where boxes of given sizes stand, and nothing of steps.
"""
