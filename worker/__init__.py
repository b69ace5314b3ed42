"""How the pipelines come to run: settings, session store, queue, sweep, HTTP, webhooks."""
