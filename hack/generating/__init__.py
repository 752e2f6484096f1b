"""Writers of what is generated from the models in `leat_engine.spec`. Each gives texts by path."""
