"""How the pipelines come to run: settings, session store, queue, sweep, HTTP, webhooks."""

#: Version of the product, as told in reports and by the API.
__version__ = "0.1.0"
