"""One module a recording entry point: it fetches inputs by run id, calls the core, records the outputs."""
