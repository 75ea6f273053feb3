"""The dashboard: static files, served as they are. Nothing of them is built, and nothing comes from elsewhere.

What the page refers to begins with `./`, so that it works wherever the application is mounted, also behind a reverse
proxy that tells nobody of its prefix; served one level below, as `/modules/{id}`, these become `../`. The scripts know
their place from `import.meta.url`.
"""
