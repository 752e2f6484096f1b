"""What the speed claims rest on.

The law of the room: every engine runs the same work (5 sequential no-op steps) under the same load, one after the
other in the same minutes on the same cores, each in its own environment, and is reported at its best setting.
``load`` is pure and says what the figures mean; ``parts`` starts processes; ``leat`` and ``peers`` know one engine
each; ``run`` prints.
"""
