"""Catalogues: any number of photos tagged into tables that can be resumed, compared and asked.

    folders, globs, tables, tar shards --items.py--> Item --work.py--> Rows --parts.py--> OUT/photos, OUT/garments

`local.py` runs the work in processes of this machine, `ray_engine.py` on a Ray cluster. What stands in OUT is read
back through its manifest (`parts.read_manifest`), never by listing files: `products`, `diff`, `query`, `similar`.
"""
