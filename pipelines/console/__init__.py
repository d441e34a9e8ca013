"""The console: web pages for analysts and compliance, and the REST API, over one store."""
