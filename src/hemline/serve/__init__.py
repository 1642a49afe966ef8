"""`hemline serve`: an HTTP API and a page over the answer half; needs the extra `serve`.

    request --body.py--> photos --engine.py--> JSON of each photo --app.py--> answer

`settings.py` holds what may be set, `metrics.py` what is counted, `docs_page.py` draws `/docs`, `cli.py` starts it all.
"""
